// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"refit.dev/refit/internal/hint"
)

// findServices looks up the Services that are to be asked, each NAMESPACE/NAME[:PORT]. The
// error is an *InputError if one is none that could be asked.
func (o *Operator) findServices(ctx context.Context, names []string) ([]ServiceProbe, error) {
	var found []ServiceProbe
	for _, text := range names {
		namespace, rest, ok := strings.Cut(text, "/")
		name, port, _ := strings.Cut(rest, ":")
		if !ok || namespace == "" || name == "" || strings.Contains(rest, "/") {
			return nil, badInput("--probe-service %q: want NAMESPACE/NAME or NAMESPACE/NAME:PORT", text)
		}
		service, err := o.Client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, hint.Wrap(badInput("--probe-service %s: there is no such Service", text), "kubectl get services -n %s shows what there is; nothing was changed", namespace)
		}
		if err != nil {
			return nil, fmt.Errorf("look at service %s/%s: %w", namespace, name, err)
		}
		address, err := addressOf(service, port)
		if err != nil {
			return nil, hint.Wrap(badInput("--probe-service %s: %v", text, err), "name a Service and a TCP port of it that pods can reach; nothing was changed")
		}
		found = append(found, ServiceProbe{Namespace: namespace, Name: name, Address: address})
	}
	return found, nil
}

// addressOf is where a Service is reached: its ClusterIP and the port of that name or
// number, the first one of TCP without one.
func addressOf(s *corev1.Service, port string) (string, error) {
	if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return "", fmt.Errorf("it has no ClusterIP")
	}
	var has []string
	for _, p := range s.Spec.Ports {
		if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
			continue
		}
		number := strconv.Itoa(int(p.Port))
		if port == "" || port == number || port == p.Name {
			return net.JoinHostPort(s.Spec.ClusterIP, number), nil
		}
		has = append(has, number)
	}
	if len(has) == 0 {
		return "", fmt.Errorf("it has no port of TCP")
	}
	return "", fmt.Errorf("it has no port %s of TCP, but %s", port, strings.Join(has, ", "))
}
