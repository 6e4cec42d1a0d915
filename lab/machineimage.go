// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"archive/tar"
	"context"
	"embed"
	"fmt"
	"io"
	"path/filepath"
)

//go:embed machine
var machineFiles embed.FS

// text returns a file of the directory machine, which is embedded.
func text(name string) string {
	data, err := machineFiles.ReadFile("machine/" + name)
	if err != nil {
		panic(err) // it was there when this was compiled
	}
	return string(data)
}

// machineRepository is the name of the machines' image; its tag is what it is made of.
const machineRepository = "refit-lab-machine"

// machineImage makes sure that the engine has the machines' image and returns
// its name: Debian, containerd, and what makes a container boot.
func (c *cache) machineImage(ctx context.Context, e *engine, base, containerd string) (string, error) {
	const initProgram = "usr/local/sbin/lab-init"
	init := map[string]string{initProgram: text("init.sh")}
	texts := map[string]string{
		"etc/systemd/system/containerd.service":  text("containerd.service"),
		"etc/systemd/system/lab-network.service": text("lab-network.service"),
		// What the rest of the image comes from, for its tag.
		"usr/local/share/lab/made-of": filepath.Base(base) + " " + filepath.Base(containerd) + "\n",
	}
	const wants = "etc/systemd/system/multi-user.target.wants/"
	links := map[string]string{
		wants + "containerd.service":  "/etc/systemd/system/containerd.service",
		wants + "lab-network.service": "/etc/systemd/system/lab-network.service",
	}
	parts := []string{init[initProgram]}
	for _, name := range sortedKeys(texts) {
		parts = append(parts, name, texts[name])
	}
	k, err := key(parts...)
	if err != nil {
		return "", err
	}
	image := machineRepository + ":" + k
	have, err := e.docker(ctx, nil, "images", "--quiet", image)
	if err != nil || have != "" {
		return image, err
	}
	c.progress.say("loading the machines' image")
	r, w := io.Pipe()
	go func() {
		out := tar.NewWriter(w)
		err := copyTar(out, filepath.Join(base, "rootfs.tar"))
		if err == nil {
			err = tarFiles(out, map[string]string{
				"usr/local/bin/containerd":              filepath.Join(containerd, "containerd"),
				"usr/local/bin/containerd-shim-runc-v2": filepath.Join(containerd, "containerd-shim-runc-v2"),
				"usr/local/bin/ctr":                     filepath.Join(containerd, "ctr"),
			})
		}
		if err == nil {
			err = tarTexts(out, init, 0o755)
		}
		if err == nil {
			err = tarTexts(out, texts, 0o644)
		}
		for _, name := range sortedKeys(links) {
			if err == nil {
				err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: links[name], Mode: 0o777})
			}
		}
		if err == nil {
			err = out.Close()
		}
		w.CloseWithError(err)
	}()
	defer r.Close()
	_, err = e.docker(ctx, r, "import", "--change", `ENTRYPOINT ["/`+initProgram+`"]`,
		"--change", "ENV container docker", "-", image)
	if err != nil {
		return "", fmt.Errorf("load the machines' image: %w", err)
	}
	return image, nil
}
