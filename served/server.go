// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package served

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"k8s.io/client-go/rest"
)

// serverOf is a sum of where an API server is asked: the address, the name that is wanted of it, and the authority that has to vouch
// for it. Behind one gate there may be many clusters, which differ in one of them alone.
func serverOf(config *rest.Config) (string, error) {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", fmt.Errorf("read the authority of %s: %w", config.Host, err)
	}
	sum := sha256.New()
	for _, part := range []string{config.Host, config.ServerName, string(config.CAData)} {
		fmt.Fprintf(sum, "%d %s\n", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}
