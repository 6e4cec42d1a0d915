// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkBytesPerPod measures what 2,000 pods of a Deployment weigh in memory as
// the API server sends them and as they are kept.
func BenchmarkBytesPerPod(b *testing.B) {
	document, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		b.Fatal(err)
	}
	for _, kept := range []bool{false, true} {
		name := "sent"
		if kept {
			name = "kept"
		}
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.ReportMetric(heapPerPod(b, document, kept), "B/pod")
			}
		})
	}
}

func heapPerPod(tb testing.TB, document []byte, trimmed bool) float64 {
	tb.Helper()
	const pods = 2000
	held := make([]*corev1.Pod, pods)
	before := heap()
	for i := range held {
		pod := &corev1.Pod{}
		if err := json.Unmarshal(document, pod); err != nil {
			tb.Fatal(err)
		}
		pod.Name = fmt.Sprintf("web-5d4f8c7b9-%05d", i)
		if trimmed {
			if _, err := trim(pod); err != nil {
				tb.Fatal(err)
			}
		}
		held[i] = pod
	}
	after := heap()
	runtime.KeepAlive(held)
	return float64(after-before) / pods
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestTrimmedPodsAreSmall(t *testing.T) {
	document, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	sent, kept := heapPerPod(t, document, false), heapPerPod(t, document, true)
	t.Logf("%.0f bytes per pod as sent, %.0f as kept", sent, kept)
	if kept > sent/2 {
		t.Errorf("a pod takes %.0f bytes of memory, as sent %.0f", kept, sent)
	}
}
