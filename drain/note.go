// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"context"
	"log/slog"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Reasons of the Events that refit writes about nodes.
const (
	NoteCordoned   = "RefitCordoned"
	NoteDrained    = "RefitDrained"
	NoteUncordoned = "RefitUncordoned"
	NoteBlocked    = "RefitBlocked"

	NoteOutOfService = "RefitOutOfService"
)

const (
	noteLimit  = 5 * time.Second // one Event is not worth more
	noteLength = 1024            // what the API server takes (ValidateEventCreate in pkg/apis/core/validation)
)

// Note writes an Event about a node, for those who look at `kubectl describe
// node` later. An Event that cannot be written is no reason to stop.
func Note(ctx context.Context, client kubernetes.Interface, now time.Time, node *corev1.Node, reason, message string) {
	ctx, cancel := context.WithTimeout(ctx, noteLimit)
	defer cancel()
	kind := corev1.EventTypeNormal
	if reason == NoteBlocked {
		kind = corev1.EventTypeWarning
	}
	if len(message) > noteLength {
		message = strings.ToValidUTF8(message[:noteLength-3], "") + "..." // the cut may be within a rune
	}
	at := metav1.NewTime(now)
	// Events about objects without a namespace live in this one.
	_, err := client.CoreV1().Events(metav1.NamespaceDefault).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: "refit-", Namespace: metav1.NamespaceDefault},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID},
		Reason:         reason, Message: message, Type: kind,
		Source: corev1.EventSource{Component: "refit"}, FirstTimestamp: at, LastTimestamp: at, Count: 1,
	}, metav1.CreateOptions{})
	if err != nil {
		slog.DebugContext(ctx, "event not written", "node", node.Name, "reason", reason, "err", err)
	}
}
