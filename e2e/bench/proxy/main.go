// Proxy puts a round-trip time between the tools of a benchmark and a registry.
//
// Every byte is passed on a fixed time after it arrived, in both directions, as a long cable does:
// the bandwidth is not limited, and what is under way at the same time waits at the same time.
// Accepting a connection costs one round trip more, as the handshake of TCP does.
//
//	proxy LISTEN TARGET ONE_WAY    for example: proxy 127.0.0.1:5001 127.0.0.1:5000 20ms
package main

import (
	"io"
	"log"
	"net"
	"os"
	"time"
)

// piece is what was read at once, and when it is to be passed on.
type piece struct {
	bytes []byte
	due   time.Time
}

// inFlight bounds the pieces that are under way in one direction of one connection.
const inFlight = 4096

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: proxy LISTEN TARGET ONE_WAY")
	}
	delay, err := time.ParseDuration(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection.(*net.TCPConn), os.Args[2], delay)
	}
}

func serve(client *net.TCPConn, target string, delay time.Duration) {
	time.Sleep(2 * delay)
	connection, err := net.Dial("tcp", target)
	if err != nil {
		log.Print(err)
		client.Close()
		return
	}
	server := connection.(*net.TCPConn)
	go pass(client, server, delay)
	pass(server, client, delay)
}

// pass hands on what it reads until the end, and then ends that direction.
func pass(from, to *net.TCPConn, delay time.Duration) {
	if delay == 0 {
		_, _ = io.Copy(to, from)
		_ = to.CloseWrite()
		return
	}
	pieces := make(chan piece, inFlight)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 64*1024)
			count, err := from.Read(buffer)
			if count > 0 {
				pieces <- piece{buffer[:count], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range pieces {
		time.Sleep(time.Until(next.due))
		if _, err := to.Write(next.bytes); err != nil {
			from.Close()
		}
	}
	_ = to.CloseWrite()
}
