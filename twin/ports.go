// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// ports are where a twin listens, on 127.0.0.1.
type ports struct {
	API      int `json:"api"`
	Etcd     int `json:"etcd"`
	EtcdPeer int `json:"etcdPeer"`
}

// Ports are taken from below the ephemeral ranges of Linux (32768) and of
// others (49152): no outgoing connection gets one between the choice and its
// use. Another listener may; start then chooses again.
const (
	firstPort = 20000
	lastPort  = 32000
)

// choosePorts returns ports that nobody listens on at present.
func choosePorts() (ports, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for range 1000 {
		l, err := listen(firstPort + rand.IntN(lastPort-firstPort))
		if err != nil {
			continue
		}
		held = append(held, l)
		if len(held) == 3 {
			return ports{API: portOf(held[0]), Etcd: portOf(held[1]), EtcdPeer: portOf(held[2])}, nil
		}
	}
	return ports{}, errors.New("found no free port on 127.0.0.1 between 20000 and 32000")
}

// free says whether nobody listens on any of p.
func (p ports) free() bool {
	for _, port := range []int{p.API, p.Etcd, p.EtcdPeer} {
		l, err := listen(port)
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
