// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package drain

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The errors below are built, and worded, as the API server of 1.37 does it.

func budgetError(retryAfter int, message string) *apierrors.StatusError {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: message}}
	return err
}

func twoBudgetsError() *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
		Code:    500,
	}}
}

func replacedError() *apierrors.StatusError {
	return apierrors.NewConflict(corev1.Resource("Pod"), "p",
		errors.New("the UID in the precondition (a) does not match the UID in record (b). The object might have been deleted and then recreated"))
}

func TestClassify(t *testing.T) {
	pods := corev1.Resource("pods")
	negative := apierrors.NewForbidden(policyv1.Resource("poddisruptionbudget"), "b", errors.New("pdb disruptions allowed is negative"))
	negative.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget b does not allow evicting pods currently: pdb disruptions allowed is negative",
	}}
	leaving := apierrors.NewForbidden(pods, "p", errors.New("unable to create new content in namespace n because it is being terminated"))
	leaving.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause, Message: "namespace n is being terminated"}}
	webhook := func(code int32) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Message: `admission webhook "hold.example.com" denied the request: not now`,
		}}
	}

	for _, tt := range []struct {
		name       string
		err        error
		verdict    verdict
		message    string
		retryAfter time.Duration
	}{
		{"accepted", nil, accepted, "", 0},
		{"gone", apierrors.NewNotFound(pods, "p"), gone, `pods "p" not found`, 0},
		{"replaced, seen by the eviction", replacedError(), replaced, replacedError().ErrStatus.Message, 0},
		{
			"replaced, seen by the store",
			apierrors.NewConflict(pods, "p", errors.New("Precondition failed: UID in precondition: a, UID in object meta: b")),
			replaced, `Operation cannot be fulfilled on pods "p": Precondition failed: UID in precondition: a, UID in object meta: b`, 0,
		},
		{
			"changed meanwhile",
			apierrors.NewConflict(pods, "p", errors.New("the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (2). The object might have been modified")),
			failed, `Operation cannot be fulfilled on pods "p": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (2). The object might have been modified`, 0,
		},
		{
			"budget", budgetError(0, "The disruption budget b needs 2 healthy pods and has 2 currently"),
			budgetSaysNo, "The disruption budget b needs 2 healthy pods and has 2 currently", 0,
		},
		{
			"budget with a negative number", negative,
			budgetSaysNo, "The disruption budget b does not allow evicting pods currently: pdb disruptions allowed is negative", 0,
		},
		{
			"budget not observed", budgetError(10, "The disruption budget b is still being processed by the server."),
			budgetUnobserved, "The disruption budget b is still being processed by the server.", 10 * time.Second,
		},
		{"two budgets", twoBudgetsError(), twoBudgets, twoBudgetsError().ErrStatus.Message, 0},
		{"namespace", leaving, namespaceTerminating, leaving.ErrStatus.Message, 0},
		{"throttled", apierrors.NewTooManyRequests("Too many requests, please try again later.", 1), throttled, "Too many requests, please try again later.", time.Second},
		{"throttled without a time", apierrors.NewTooManyRequestsError("later"), throttled, "Too many requests: later", 0},
		{"webhook says no with 400", webhook(400), webhookRefused, `admission webhook "hold.example.com" denied the request: not now`, 0},
		{"webhook says no with 429", webhook(429), webhookRefused, `admission webhook "hold.example.com" denied the request: not now`, 0},
		{
			"webhook does not answer", apierrors.NewInternalError(errors.New(`failed calling webhook "hold.example.com": connection refused`)),
			webhookRefused, `Internal error occurred: failed calling webhook "hold.example.com": connection refused`, 0,
		},
		{"may not", apierrors.NewForbidden(pods, "p", errors.New(`User "u" cannot create resource "pods/eviction"`)), forbidden, `pods "p" is forbidden: User "u" cannot create resource "pods/eviction"`, 0},
		{"not known", apierrors.NewUnauthorized("Unauthorized"), forbidden, "Unauthorized", 0},
		{"conflicts about the budget", apierrors.NewTimeoutError(`couldn't update PodDisruptionBudget "b" due to conflicts`, 10), failed, `Timeout: couldn't update PodDisruptionBudget "b" due to conflicts`, 10 * time.Second},
		{"internal", apierrors.NewInternalError(errors.New("etcd")), failed, "Internal error occurred: etcd", 0},
		{"no connection", errors.New("connection refused"), failed, "connection refused", 0},
		{"wrapped", fmt.Errorf("evict: %w", budgetError(0, "no")), budgetSaysNo, "no", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := answer{tt.verdict, tt.message, tt.retryAfter}
			if got := classify(tt.err); got != want {
				t.Errorf("classify = %+v\nwant       %+v", got, want)
			}
		})
	}
}
