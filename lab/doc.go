// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lab makes disposable kubeadm clusters of real kubelets: each machine
// is a container with Debian, systemd, sshd, apt and containerd, the cluster is
// what `kubeadm init` and `kubeadm join` make of them, and nothing of Kubernetes
// is simulated. What concerns packages, static pods, kubelets and etcd members
// is tried here.
//
// Nothing is pulled from a registry of images: the programs are compiled from
// the modules under lab/build, and a store, which is one more container of the
// lab, serves them to the machines, as packages in an apt repository for each
// minor version and as images. A machine needs no other network.
//
// What is expensive to make lies in the user's cache directory, under a name
// that says what it was made of. What a lab is lies in the state directory, see
// Lab. A command that is killed leaves either the old or the new state behind;
// Up then carries on, or begins anew where the halves do not fit together.
//
// Machines are changed from the inside through the container engine only, so
// that their SSH, packages and network are free to be broken by tests.
package lab
