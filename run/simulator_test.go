// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"refit.dev/refit/provider"
	"refit.dev/refit/twin/simulated"
)

// simulatorEnv makes the test binary a command of a provider.
const simulatorEnv = "REFIT_TEST_PROVIDER"

// simulator is a provider whose machines are nodes of a twin, and which keeps books in a
// directory. It is a program of its own, and does not trust who calls it.
type simulator struct {
	Dir, Kubeconfig string
	// Trouble is what it does wrong.
	Trouble string
}

// books are what the provider knows, and all that it has ever done.
type books struct {
	Machines []provider.Machine
	Created  []string // keys, once for each machine that was really made
	Deleted  []string // IDs, once for each machine that was really removed
	Serial   int
}

func (s simulator) config(join provider.Joining) provider.Config {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	command := provider.Command{Argv: []string{"env", simulatorEnv + "=" + string(text), os.Args[0]}, Seconds: 60}
	return provider.Config{Create: command, Delete: command, List: command, Join: join}
}

// open reads the books and keeps everybody else out until done is called.
func (s simulator) open() (b *books, done func(), err error) {
	lock, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, nil, err
	}
	b = &books{}
	data, err := os.ReadFile(filepath.Join(s.Dir, "books.json"))
	if err == nil {
		err = json.Unmarshal(data, b)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return b, func() {
		data, err := json.Marshal(b)
		if err == nil {
			err = os.WriteFile(filepath.Join(s.Dir, "books.json"), data, 0o600)
		}
		if err != nil {
			panic(err)
		}
		lock.Close()
	}, err
}

func (s simulator) read(t *testing.T) books {
	t.Helper()
	b, done, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	return *b
}

// simulate is the program.
func simulate(text string) {
	var s simulator
	var q struct {
		Action  string
		Order   *provider.Order
		Machine *provider.Machine
	}
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(text), &s), json.Unmarshal(input, &q))
	}
	if err != nil {
		panic(err)
	}
	b, done, err := s.open()
	if err != nil {
		panic(err)
	}
	answer, err := s.act(b, q.Action, q.Order, q.Machine)
	done()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		panic(err)
	}
}

func (s simulator) act(b *books, action string, o *provider.Order, m *provider.Machine) (any, error) {
	switch action {
	case "list":
		return map[string]any{"machines": append([]provider.Machine{}, b.Machines...)}, nil
	case "delete":
		b.Machines = slices.DeleteFunc(b.Machines, func(x provider.Machine) bool {
			if x.ID == m.ID {
				b.Deleted = append(b.Deleted, x.ID)
			}
			return x.ID == m.ID
		})
		return map[string]any{}, nil
	}
	if found, there := provider.ByKey(b.Machines, o.Key); there {
		return map[string]any{"machine": found}, nil
	}
	if s.Trouble == "refuses" {
		return nil, errors.New("quota exceeded")
	}
	b.Serial++
	made := provider.Machine{Key: o.Key, ID: fmt.Sprintf("vm-%d", b.Serial), Node: o.Key}
	b.Created = append(b.Created, o.Key)
	var err error
	switch s.Trouble {
	case "same machine": // as the old one
		made.Node = o.Like.Node + "x"
		made.ID = o.Like.ID
		b.Machines = slices.DeleteFunc(b.Machines, func(x provider.Machine) bool { return x.ID == o.Like.ID })
	case "same node":
		made.Node = b.Machines[0].Node
		b.Machines = b.Machines[1:]
	case "listed twice":
		b.Machines = append(b.Machines, made)
	case "never joins":
	case "wrong version":
		o.Version = "v1.35.4"
		err = s.join(o, made.Node)
	case "needs token":
		if o.Join == nil || o.Join.Token == "" {
			return nil, errors.New("no token")
		}
		err = errors.Join(s.invited(o.Join.Token), s.join(o, made.Node))
	default:
		err = s.join(o, made.Node)
	}
	b.Machines = append(b.Machines, made)
	if s.Trouble == "fails after" {
		return nil, errors.New("it took too long")
	}
	return map[string]any{"machine": made}, err
}

func (s simulator) client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// invited fails if the API server does not know the token.
func (s simulator) invited(token string) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	id, secret := token[:6], token[7:]
	found, err := client.CoreV1().Secrets("kube-system").Get(context.Background(), "bootstrap-token-"+id, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if string(found.Data["token-secret"]) != secret || found.Type != corev1.SecretTypeBootstrapToken {
		return errors.New("another token")
	}
	return nil
}

// join makes the Node of a machine, as its kubelet would.
func (s simulator) join(o *provider.Order, name string) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	nodes := client.CoreV1().Nodes()
	like, err := nodes.Get(context.Background(), o.Like.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	fresh := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux",
		simulated.KubeletLabel: simulated.KubeletRunning, simulated.TendedLabel: "true",
	}}, Status: like.Status}
	fresh.Status.NodeInfo.KubeletVersion, fresh.Status.NodeInfo.BootID = o.Version, "boot-"+name
	fresh.Status.Conditions = nil
	if _, err := nodes.Create(context.Background(), fresh, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}
