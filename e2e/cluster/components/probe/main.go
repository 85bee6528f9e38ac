// Command probe is the only program in the image of the same name. As `pause` it holds a pod's
// namespaces open; its other commands look at the network as a pod sees it.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: probe pause            wait for SIGTERM, reaping orphans
       probe dns NAME...      print the addresses of each name
       probe get URL...       print status and size of what each URL answers`

// timeout bounds each look-up and each request.
const timeout = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fail(2, usage)
	}
	switch command, args := os.Args[1], os.Args[2:]; {
	case command == "pause" && len(args) == 0:
		pause()
	case command == "dns" && len(args) > 0:
		each(args, lookUp)
	case command == "get" && len(args) > 0:
		each(args, get)
	default:
		fail(2, usage)
	}
}

// pause is the first process of a pod: with a shared process namespace it must reap.
func pause() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// each goes on after a failure, so that one run shows all of them.
func each(args []string, do func(context.Context, string) error) {
	failed := false
	for _, arg := range args {
		if err := do(context.Background(), arg); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", arg, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func lookUp(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", name, strings.Join(addresses, " "))
	return nil
}

func get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	size, err := io.Copy(io.Discard, response.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s %d %d bytes\n", url, response.StatusCode, size)
	return nil
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(code)
}
