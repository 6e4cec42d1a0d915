// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"refit.dev/refit/etcd/atrest"
)

// registry is where API servers put their objects, unless --etcd-prefix says otherwise.
const registry = "/registry/"

// How the API server marks what it stores: protobuf
// (k8s.io/apimachinery/pkg/runtime/serializer/protobuf), and what is encrypted at rest (package atrest). All else is JSON.
const protobufMark = "k8s\x00"

type resourceName struct{ group, name string }

// storedAs are the resources that are stored under a name of the past
// (k8s.io/kubernetes/pkg/kubeapiserver/default_storage_factory_builder.go).
func storedAs(name string) string {
	switch name {
	case "minions":
		return "nodes"
	case "controllers":
		return "replicationcontrollers"
	case "ingress":
		return "ingresses"
	}
	return name
}

// resourceOf reads from a key which resource it belongs to, and the group where that is in
// the key: a group with a dot comes before the name of custom resources.
func resourceOf(key []byte) (resourceName, bool) {
	rest, ok := strings.CutPrefix(string(key), registry)
	if !ok {
		return resourceName{}, false
	}
	parts := strings.SplitN(rest, "/", 3)
	switch {
	case len(parts) < 2 || parts[0] == "" || parts[1] == "":
		return resourceName{}, false
	case parts[0] == "services" && len(parts) == 3: // services/specs/NS/NAME, services/endpoints/NS/NAME
		if parts[1] == "endpoints" {
			return resourceName{name: "endpoints"}, true
		}
		return resourceName{name: "services"}, true
	case strings.Contains(parts[0], ".") && len(parts) == 3:
		return resourceName{group: parts[0], name: parts[1]}, true
	}
	return resourceName{name: storedAs(parts[0])}, true
}

// groupOf reads the API group out of an object; "" if it cannot be told.
func groupOf(value []byte) string {
	var apiVersion string
	if rest, ok := bytes.CutPrefix(value, []byte(protobufMark)); ok {
		apiVersion = string(field(field(rest, 1), 1)) // runtime.Unknown.typeMeta.apiVersion
	} else {
		var meta metav1.TypeMeta
		_ = json.Unmarshal(value, &meta) // what is no JSON has no group
		apiVersion = meta.APIVersion
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return ""
	}
	return gv.Group
}

// uidOf reads the UID out of a built-in object; "" if it cannot be told.
func uidOf(value []byte) string {
	o, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, nil)
	if err != nil {
		return ""
	}
	meta, err := apimeta.Accessor(o)
	if err != nil {
		return ""
	}
	return string(meta.GetUID())
}

// field returns the first field of a protobuf message with that number and bytes in it.
func field(message []byte, number protowire.Number) []byte {
	for len(message) > 0 {
		found, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil
		}
		message = message[n:]
		if found == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			return value
		}
		if n = protowire.ConsumeFieldValue(found, kind, message); n < 0 {
			return nil
		}
		message = message[n:]
	}
	return nil
}

// decoding counts what became of the objects.
type decoding struct {
	decoded, decrypted, encrypted, unknown int
	bad                                    int
	complaints                             []string
	// keys are those that objects are decrypted with.
	keys atrest.Keys
}

// object decodes one object of Kubernetes; other keys are passed over.
func (d *decoding) object(key, value []byte) {
	if _, ok := resourceOf(key); !ok {
		return
	}
	sealed := atrest.IsEncrypted(value)
	var known bool
	var err error
	if sealed {
		value, err = d.keys.Decrypt(key, value)
	}
	if err == nil {
		known, err = decode(value)
	}
	switch {
	case errors.Is(err, atrest.ErrNoKey):
		d.encrypted++
	case err != nil:
		if d.bad++; d.bad <= maxComplaints {
			d.complaints = append(d.complaints, fmt.Sprintf("%q: %v", key, err))
		}
	case !known:
		d.unknown++
	default:
		d.decoded++
		if sealed {
			d.decrypted++
		}
	}
}

// decode decodes an object, and tells whether its type is known: built-in types are,
// and so is every JSON that says what it is.
func decode(value []byte) (known bool, err error) {
	if !bytes.HasPrefix(value, []byte(protobufMark)) {
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(value, &o); err != nil {
			return false, fmt.Errorf("neither protobuf nor JSON of Kubernetes: %w", err)
		}
		if o.APIVersion == "" || o.Kind == "" {
			return false, errors.New("JSON without apiVersion and kind")
		}
		return true, nil
	}
	_, _, err = scheme.Codecs.UniversalDeserializer().Decode(value, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("decode: %w", err)
	}
	return true, nil
}
