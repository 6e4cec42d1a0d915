// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// verdict is what the API server's answer to an eviction means for the pod.
type verdict int

const (
	// accepted: the pod is deleted, or will be when its grace period is over.
	accepted verdict = iota
	// gone: there is no pod of that name any more.
	gone
	// replaced: the pod of that name is another one; the one asked for is gone.
	replaced
	// budgetSaysNo: the pod's budget allows no disruption now.
	budgetSaysNo
	// budgetUnobserved: the budget, or the pod, changed too recently for the
	// server to say; it will know once the disruption controller has looked.
	budgetUnobserved
	// twoBudgets: more than one budget selects the pod; refused until that changes.
	twoBudgets
	// namespaceTerminating: the pod's namespace is being deleted, and the pod with it.
	namespaceTerminating
	// throttled: the server has too much to do; it has not looked at the pod.
	throttled
	// webhookRefused: an admission webhook said no, or could not be asked.
	webhookRefused
	// forbidden: the user of this kubeconfig may not evict, which asking again
	// will not change.
	forbidden
	// failed: anything else, worth asking again after a while.
	failed
)

// answer is a classified answer.
type answer struct {
	verdict verdict
	// message is the server's own words, of the most telling kind there is.
	message string
	// retryAfter is how long the server wants to be left alone; 0 if it did not say.
	retryAfter time.Duration
}

// departs tells whether the pod is on its way out, or gone.
func (a answer) departs() bool {
	return a.verdict == accepted || a.verdict == gone || a.verdict == replaced
}

// classify turns the error of an eviction or deletion with a UID precondition
// (nil: it was accepted) into an answer. The shapes are those of
// pkg/registry/core/pod/storage/eviction.go and of the admission plugins
// NamespaceLifecycle and the webhooks in Kubernetes 1.37.
func classify(err error) answer {
	if err == nil {
		return answer{verdict: accepted}
	}
	a := answer{verdict: failed, message: err.Error()}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return a // the request did not get through
	}
	s := status.Status()
	if s.Message != "" {
		a.message = s.Message
	}
	if s.Details != nil {
		a.retryAfter = time.Duration(s.Details.RetryAfterSeconds) * time.Second
	}
	budget, aboutBudget := apierrors.StatusCause(err, policyv1.DisruptionBudgetCause)

	switch {
	// Webhooks may answer with any code, so their words are looked at first.
	case strings.Contains(s.Message, "admission webhook ") || strings.Contains(s.Message, "failed calling webhook "):
		a.verdict = webhookRefused

	case aboutBudget:
		a.verdict = budgetSaysNo
		// Only a budget that "is still being processed by the server" comes with
		// a delay; one that was looked at and says no comes without.
		if apierrors.IsTooManyRequests(err) && a.retryAfter > 0 {
			a.verdict = budgetUnobserved
		}
		if budget.Message != "" {
			a.message = budget.Message
		}

	case s.Code == http.StatusTooManyRequests:
		a.verdict = throttled

	// An old API server, or one that has no words for it, answers 500 without a reason.
	case s.Code == http.StatusInternalServerError && strings.Contains(s.Message, "more than one PodDisruptionBudget"):
		a.verdict = twoBudgets

	case apierrors.IsNotFound(err):
		a.verdict = gone

	// The other precondition that can fail is on the resource version, which the
	// server sets by itself for pods that are not running: they changed meanwhile.
	case apierrors.IsConflict(err) && strings.Contains(s.Message, "UID in"):
		a.verdict = replaced

	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		a.verdict = namespaceTerminating

	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		a.verdict = forbidden
	}
	return a
}
