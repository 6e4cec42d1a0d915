// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apply makes the objects of files again, in a cluster: refit import.
//
// Load reads and parses all files first; what is wrong with any of them is an InputError that lists all of it. Prepare looks
// at the cluster: what is served, what is there already, who owns whom; it changes nothing, and refuses what
// cannot work. Apply sends the objects by server-side apply, in the order of manifest.Stages, many at a
// time, as field manager refit. It is resumed by doing it again: what is as it should be stays untouched.
//
// Fields that another manager has set to other values are conflicts: the object is left as it is and named, with the
// managers, unless they are to be overruled.
package apply
