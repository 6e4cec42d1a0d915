// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// answer is a server that says which node and pod it runs on (environment NODE
// and POD), and resolves names for whoever asks.
func answer() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close") // the next request may go to another pod
		fmt.Fprintln(w, os.Getenv("NODE"), os.Getenv("POD"))
	})
	mux.HandleFunc("GET /resolve/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintln(w, strings.Join(addresses, " "))
	})
	// A request that takes as long as it says, to see that none is cut off.
	mux.HandleFunc("GET /slow/{duration}", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.PathValue("duration"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(d):
			fmt.Fprintln(w, os.Getenv("NODE"), os.Getenv("POD"))
		}
	})
	return mux
}
