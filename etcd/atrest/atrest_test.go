// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package atrest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What follows was encrypted by k8s.io/apiserver v0.37.2 itself, with the two secrets as key1 and key2: the value
// "open sesame" of the key below.
const (
	etcdKey = "/registry/secrets/default/door"
	plain   = "open sesame"
	secret1 = "quJISYQtcIK2b1fOgnC9BNosOf+5ffIoA8JwmDAyxOU="
	secret2 = "ZwMetrC/g9augPqGLXxCTvxnRb1LAQSjCvJ8dbRF/vk="
)

func encrypted() map[string]string {
	return map[string]string{
		"aescbc key1":    "azhzOmVuYzphZXNjYmM6djE6a2V5MTqmgzC9JuBUWTNloiMCYbuuKRViAoBZNov+Gd8W8YH/kA==",
		"aesgcm key1":    "azhzOmVuYzphZXNnY206djE6a2V5MTqk0ug+uLisQ3ThH3BqP95dLDkQwtcoa0Kao7h706mYExian1a9fN4=",
		"secretbox key1": "azhzOmVuYzpzZWNyZXRib3g6djE6a2V5MTp4jWYTEkdVHXdNhJenh7Hek1EATco3XXPgl22Aol3iikevH8vbIvuHpvEcdfaueKvlP0w=",
		"aescbc key2":    "azhzOmVuYzphZXNjYmM6djE6a2V5MjqJ+ZXHZVf7mVpWxQrCAcz+qVwOrtIR2igxKts86bJMoA==",
		"aesgcm key2":    "azhzOmVuYzphZXNnY206djE6a2V5MjpQGovHS5HTRnba3cen46wr18bxVnEQQVoze413zYiWtuZV6oYIGUU=",
		"secretbox key2": "azhzOmVuYzpzZWNyZXRib3g6djE6a2V5MjqbZd475+vtkjvZP2ixNSJqhMfSDyGrG8JS4cuvLTZEVmSEMmqG0hmqOpptWSUkBiRbr6I=",
	}
}

func raw(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// config has the providers with key1 and key2, in the order that the providers are named.
func config(secrets ...string) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n")
	for _, provider := range []string{"aesgcm", "aescbc", "secretbox"} {
		fmt.Fprintf(&b, "  - %s:\n      keys:\n", provider)
		for i, s := range secrets {
			fmt.Fprintf(&b, "      - {name: key%d, secret: %s}\n", i+1, s)
		}
	}
	b.WriteString("  - kms: {apiVersion: v2, name: vault, endpoint: unix:///run/kms.sock}\n  - identity: {}\n")
	return []byte(b.String())
}

func parse(t *testing.T, text []byte) Keys {
	t.Helper()
	k, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestEachProvider decrypts what an API server has encrypted, with the first key and a later one.
func TestEachProvider(t *testing.T) {
	keys := parse(t, config(secret1, secret2))
	if keys.Len() != 6 {
		t.Errorf("there are %d keys", keys.Len())
	}
	for name, text := range encrypted() {
		value := raw(t, text)
		if !IsEncrypted(value) {
			t.Errorf("%s: it is not taken for encrypted", name)
		}
		if got, err := keys.Decrypt([]byte(etcdKey), value); err != nil || string(got) != plain {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestTwoResourcesWithOneName: a name stands for another secret in another entry; either may be the one.
func TestTwoResourcesWithOneName(t *testing.T) {
	text := append(config(secret2), bytes.SplitAfterN(config(secret1), []byte("resources:\n"), 2)[1]...)
	keys := parse(t, text)
	for _, name := range []string{"aescbc key1", "aesgcm key1", "secretbox key1"} {
		if got, err := keys.Decrypt([]byte(etcdKey), raw(t, encrypted()[name])); err != nil || string(got) != plain {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestOthers: what is not encrypted is told from the rest, and what a key management service has encrypted, or
// an unknown provider, or a version that is not known, is nobody's.
func TestOthers(t *testing.T) {
	keys := parse(t, config(secret1, secret2))
	for _, text := range []string{"k8s\x00\n\x0c", `{"kind":"ConfigMap"}`, "", "k8s:enc"} {
		if IsEncrypted([]byte(text)) {
			t.Errorf("%q is taken for encrypted", text)
		}
	}
	for _, text := range []string{
		"k8s:enc:kms:v2:vault:xyz", "k8s:enc:kms:v1:vault:xyz", "k8s:enc:aescbc:v2:key1:" + strings.Repeat("x", 32), "k8s:enc:aescbc:v1:key3:" + strings.Repeat("x", 32),
		"k8s:enc:rot13:v1:key1:x", "k8s:enc:", "k8s:enc:aescbc", "k8s:enc:aescbc:v1:key1", plain,
	} {
		if got, err := keys.Decrypt([]byte(etcdKey), []byte(text)); !errors.Is(err, ErrNoKey) || got != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if got, err := (Keys{}).Decrypt([]byte(etcdKey), raw(t, encrypted()["aesgcm key1"])); !errors.Is(err, ErrNoKey) {
		t.Errorf("without any key: %q, %v", got, err)
	}
	only := parse(t, []byte("kind: EncryptionConfiguration\nresources:\n- resources: ['*.*']\n  providers: [{identity: {}}, {kms: {name: x}}]\n"))
	if only.Len() != 0 {
		t.Errorf("identity and kms have %d keys", only.Len())
	}
}

// TestWrong keys, other places, cuts and changed bits give no text, and no panic.
func TestWrong(t *testing.T) {
	wrong, keys := parse(t, config(secret2, secret1)), parse(t, config(secret1, secret2))
	for name, text := range encrypted() {
		value := raw(t, text)
		if got, err := wrong.Decrypt([]byte(etcdKey), value); err == nil || string(got) == plain || strings.Contains(err.Error(), secret1) || strings.Contains(err.Error(), secret2) {
			t.Errorf("%s, with the wrong key: %q, %v", name, got, err)
		}
		data := bytes.Index(value, []byte(":key")) + len(":key1:")
		for at := range value {
			if got, err := keys.Decrypt([]byte(etcdKey), value[:at]); err == nil {
				t.Errorf("%s, cut after %d bytes: %q", name, at, got)
			}
			changed := slices.Clone(value)
			changed[at] ^= 1
			got, err := keys.Decrypt([]byte(etcdKey), changed)
			if err == nil && (string(got) == plain || !strings.HasPrefix(name, "aescbc") || at < data) { // which has no authentication
				t.Errorf("%s, a bit of byte %d: %q", name, at, got)
			}
		}
		got, err := keys.Decrypt([]byte("/registry/secrets/default/window"), value)
		if bound := strings.HasPrefix(name, "aesgcm"); bound == (err == nil) {
			t.Errorf("%s, at another key of etcd: %q, %v", name, got, err)
		}
	}
	for _, secret := range []string{"c2hvcnQ=", ""} { // of no length that a cipher takes
		keys := parse(t, config(secret, secret))
		for name, text := range encrypted() {
			if got, err := keys.Decrypt([]byte(etcdKey), raw(t, text)); err == nil {
				t.Errorf("%s, with a key of the wrong length: %q", name, got)
			}
		}
	}
}

// TestNoConfiguration is told without anything of the secrets.
func TestNoConfiguration(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "no YAML": "\t{", "another kind": "kind: Secret\n", "no base64": string(config("hush!"))} {
		if k, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %d keys, %v", name, k.Len(), err)
		}
	}
}
