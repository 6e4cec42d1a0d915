// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"os"
	"time"

	"refit.dev/refit/etcd"
)

// etcdName is the name of the twin's only member of etcd.
const etcdName = "twin"

// Etcd is the member of etcd of a twin.
type Etcd struct {
	Name               string
	ClientURL, PeerURL string
	// DataDir is its data directory, an absolute path.
	DataDir string
	// Access is how it is asked, with the API server's certificate.
	Access etcd.Access
}

// etcdPatience is how long a twin's etcd has to answer, unless somebody says otherwise.
const etcdPatience = 5 * time.Second

// Etcd tells of the twin's etcd, whether it runs or not.
func (t *Twin) Etcd() (*Etcd, error) {
	rec, err := t.readRecord()
	if err != nil {
		return nil, err
	}
	client, peer := etcdURLs(rec.Ports)
	e := &Etcd{Name: etcdName, ClientURL: client, PeerURL: peer, DataDir: t.path("etcd")}
	var c etcd.Credentials
	for file, into := range map[string]*[]byte{"etcd-ca.crt": &c.CA, "etcd-client.crt": &c.Certificate, "etcd-client.key": &c.Key} {
		if *into, err = os.ReadFile(t.path("pki", file)); err != nil {
			return nil, fmt.Errorf("twin %s: read the certificates for its etcd: %w", t.name, err)
		}
	}
	e.Access = etcd.Access{Endpoints: []string{client}, Patience: etcdPatience}
	if e.Access.TLS, err = c.TLS(); err != nil {
		return nil, fmt.Errorf("twin %s: %w", t.name, err)
	}
	return e, nil
}

func etcdURLs(p ports) (client, peer string) {
	return fmt.Sprintf("https://127.0.0.1:%d", p.Etcd), fmt.Sprintf("https://127.0.0.1:%d", p.EtcdPeer)
}
