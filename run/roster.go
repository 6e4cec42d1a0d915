// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"refit.dev/refit/internal/hint"
	"refit.dev/refit/provider"
)

// roster lets machines join a cluster, and takes Nodes off it. Everything may be repeated.
type roster interface {
	// invite makes what a machine needs to join, good for that long. One under the same key that
	// an earlier process has made stays good: a machine may be on its way with it.
	invite(ctx context.Context, key string, lasting time.Duration) (*provider.Join, error)
	// disinvite takes back all of a key; none is no error.
	disinvite(ctx context.Context, key string) error
	// liken gives a Node what it lacks of a likeness.
	liken(ctx context.Context, name string, uid types.UID, l likeness) error
	// remove deletes a Node: this one, and no other of its name. One that is gone is no error.
	remove(ctx context.Context, name string, uid types.UID) error
}

// apiRoster is the roster behind an API server.
type apiRoster struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
}

// What bootstrap tokens are made of
// (https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/).
const (
	tokenLetters = "0123456789abcdefghijklmnopqrstuvwxyz"
	idLength     = 6
	secretLength = 16
	tokenGroup   = "system:bootstrappers:kubeadm:default-node-token" // that kubeadm lets nodes of join
)

// invitations is how many a machine may have at a time: a process makes one, and one more would
// be of a process that was killed.
const invitations = 4

// tokenID is the public part of one of a machine's tokens: the same whenever it is asked for, so that what a
// killed process has made is found.
func tokenID(key string, which int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "refit token\n%s\n%d", key, which))
	id := make([]byte, idLength)
	for i := range id {
		id[i] = tokenLetters[int(sum[i])%len(tokenLetters)]
	}
	return string(id)
}

func tokenSecret() (string, error) {
	secret := make([]byte, secretLength)
	for i := range secret {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(tokenLetters))))
		if err != nil {
			return "", err
		}
		secret[i] = tokenLetters[n.Int64()]
	}
	return string(secret), nil
}

const tokenPrefix = "bootstrap-token-"

func (r apiRoster) invite(ctx context.Context, key string, lasting time.Duration) (*provider.Join, error) {
	join, err := r.discover(ctx)
	if err != nil {
		return nil, err
	}
	secret, err := tokenSecret()
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	join.Expires = r.clock.Now().Add(lasting).UTC().Truncate(time.Second)
	for which := 0; ; which++ {
		if which == invitations { // they have been made for machines that did not come
			if err := r.disinvite(ctx, key); err != nil {
				return nil, err
			}
			which = 0
		}
		id := tokenID(key, which)
		token := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: tokenPrefix + id, Namespace: metav1.NamespaceSystem},
			Type:       corev1.SecretTypeBootstrapToken,
			StringData: map[string]string{
				"token-id": id, "token-secret": secret, "expiration": join.Expires.Format(time.RFC3339),
				"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
				"auth-extra-groups": tokenGroup, "description": "refit: for machine " + key,
			},
		}
		_, err := r.client.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, token, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("make a bootstrap token: %w", err)
		}
		join.Token = id + "." + secret
		return join, nil
	}
}

// discover finds where and as whom the API server is reached, as kubeadm keeps it for those who join.
func (r apiRoster) discover(ctx context.Context) (*provider.Join, error) {
	const advice = "kubeadm keeps it there for machines that join; a provider that sees to the joining itself has join: own in its file"
	found, err := r.client.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, "cluster-info", metav1.GetOptions{})
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("read ConfigMap kube-public/cluster-info: %w", err), advice)
	}
	config, err := clientcmd.Load([]byte(found.Data["kubeconfig"]))
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err), advice)
	}
	for _, c := range config.Clusters {
		server, err := url.Parse(c.Server)
		if err != nil || server.Host == "" {
			break
		}
		block, _ := pem.Decode(c.CertificateAuthorityData)
		if block == nil {
			break
		}
		authority, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("ConfigMap kube-public/cluster-info: %w", err), advice)
		}
		// As RFC 7469 has it, of the public key: kubeadm join --discovery-token-ca-cert-hash.
		pin := sha256.Sum256(authority.RawSubjectPublicKeyInfo)
		return &provider.Join{Server: server.Host, CACertHash: "sha256:" + hex.EncodeToString(pin[:])}, nil
	}
	return nil, hint.Wrap(errors.New("ConfigMap kube-public/cluster-info names no cluster with a server and an authority"), advice)
}

func (r apiRoster) disinvite(ctx context.Context, key string) error {
	for which := range invitations {
		err := r.client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, tokenPrefix+tokenID(key, which), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("take a bootstrap token back: %w", err)
		}
	}
	return nil
}

func (r apiRoster) liken(ctx context.Context, name string, uid types.UID, l likeness) error {
	nodes := r.client.CoreV1().Nodes()
	for {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("look at node %s: %w", name, err)
		}
		lack, _ := l.missing(node)
		if node.UID != uid || lack.empty() {
			return nil // it is another one now, which its machine's wait will see
		}
		change := map[string]any{
			"metadata": map[string]any{"uid": uid, "resourceVersion": node.ResourceVersion, "labels": lack.labels},
		}
		if len(lack.taints) > 0 {
			change["spec"] = map[string]any{"taints": slices.Concat(node.Spec.Taints, lack.taints)}
		}
		patch, err := json.Marshal(change)
		if err != nil {
			return err
		}
		_, err = nodes.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsConflict(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("carry labels and taints over to node %s: %w", name, err)
		}
		return nil
	}
}

func (r apiRoster) remove(ctx context.Context, name string, uid types.UID) error {
	err := r.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // gone, or another one has its name
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete node %s: %w", name, err)
	}
	return nil
}
