// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"refit.dev/refit/twin"
)

// ownTwin is the twin that the kubeconfig leads to, or nil if that is another cluster, or
// if there is no kubeconfig.
func (a *app) ownTwin() (*twin.Twin, error) {
	config, err := a.kube.ToRESTConfig()
	if err != nil {
		return nil, nil //nolint:nilerr // whoever needs the cluster will see
	}
	return twin.Find(config)
}
