// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package atrest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"
	"sigs.k8s.io/yaml"
)

// mark begins every value that is encrypted; then come provider, version and the key's
// name, each with a colon.
const mark = "k8s:enc:"

// ErrNoKey says of a value that none of the keys is the one it was encrypted with.
var ErrNoKey = errors.New("no key of that provider and name is known")

// IsEncrypted tells whether a value of etcd is encrypted.
func IsEncrypted(value []byte) bool { return bytes.HasPrefix(value, []byte(mark)) }

// Keys are those of an EncryptionConfiguration. The zero value has none.
type Keys struct{ byName map[keyName][][]byte }

type keyName struct{ provider, name string }

// Len is how many keys there are.
func (k Keys) Len() int {
	n := 0
	for _, secrets := range k.byName {
		n += len(secrets)
	}
	return n
}

// Parse reads an EncryptionConfiguration (apiserver.config.k8s.io/v1). Errors hold nothing of the secrets.
func Parse(config []byte) (Keys, error) {
	type provider struct {
		Keys []struct{ Name, Secret string }
	}
	var c struct {
		Kind      string
		Resources []struct {
			Providers []struct {
				AESCBC    *provider `json:"aescbc"`
				AESGCM    *provider `json:"aesgcm"`
				Secretbox *provider `json:"secretbox"`
			}
		}
	}
	if err := yaml.Unmarshal(config, &c); err != nil || c.Kind != "EncryptionConfiguration" {
		return Keys{}, errors.New("it is no EncryptionConfiguration")
	}
	k := Keys{byName: map[keyName][][]byte{}}
	for _, r := range c.Resources {
		for _, p := range r.Providers {
			for name, of := range map[string]*provider{"aescbc": p.AESCBC, "aesgcm": p.AESGCM, "secretbox": p.Secretbox} {
				if of == nil {
					continue
				}
				for _, key := range of.Keys {
					secret, err := base64.StdEncoding.DecodeString(key.Secret)
					if err != nil {
						return Keys{}, fmt.Errorf("the secret of key %q of %s is no base64", key.Name, name)
					}
					at := keyName{name, key.Name}
					k.byName[at] = append(k.byName[at], secret)
				}
			}
		}
	}
	return k, nil
}

// Decrypt decrypts the value of a key of etcd, which providers with authentication have bound it
// to. The error is ErrNoKey if it is encrypted otherwise.
func (k Keys) Decrypt(etcdKey, value []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(value, []byte(mark))
	parts := bytes.SplitN(rest, []byte(":"), 4)
	if !ok || len(parts) < 4 || string(parts[1]) != "v1" {
		return nil, ErrNoKey // kms has other versions, and further names
	}
	name := keyName{string(parts[0]), string(parts[2])}
	secrets := k.byName[name]
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: %s, %q", ErrNoKey, name.provider, name.name)
	}
	var errs []error
	for _, secret := range secrets {
		plain, err := decrypt(name.provider, secret, etcdKey, parts[3])
		if err == nil {
			return plain, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("key %q of %s does not decrypt it: %w", name.name, name.provider, errors.Join(errs...))
}

func decrypt(provider string, secret, etcdKey, data []byte) ([]byte, error) {
	switch provider {
	case "aescbc":
		return cbc(secret, data)
	case "aesgcm":
		return gcm(secret, etcdKey, data)
	case "secretbox":
		return box(secret, data)
	}
	return nil, fmt.Errorf("%w: provider %q", ErrNoKey, strings.ToValidUTF8(provider, "?"))
}

// cbc is AES in CBC mode, the IV first, padded as PKCS #7 says.
func cbc(secret, data []byte) ([]byte, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	if len(data) < 2*aes.BlockSize || len(data)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%d bytes are no blocks", len(data))
	}
	plain := make([]byte, len(data)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, data[:aes.BlockSize]).CryptBlocks(plain, data[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errors.New("its padding is wrong")
	}
	return plain[:len(plain)-pad], nil
}

// gcm is AES-GCM, the nonce first, with the key of etcd as additional data.
func gcm(secret, etcdKey, data []byte) ([]byte, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(data) < aead.NonceSize() {
		return nil, fmt.Errorf("%d bytes are too few", len(data))
	}
	return aead.Open(nil, data[:aead.NonceSize()], data[aead.NonceSize():], etcdKey)
}

// box is XSalsa20 and Poly1305 (NaCl), the nonce first.
func box(secret, data []byte) ([]byte, error) {
	var key [32]byte
	var nonce [24]byte
	if len(secret) != len(key) || len(data) < len(nonce) {
		return nil, fmt.Errorf("a key of %d bytes and a value of %d", len(secret), len(data))
	}
	copy(key[:], secret)
	copy(nonce[:], data)
	plain, ok := secretbox.Open(nil, data[len(nonce):], &nonce, &key)
	if !ok {
		return nil, errors.New("it is not authentic")
	}
	return plain, nil
}
