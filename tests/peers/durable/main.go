// Durable queues that people would otherwise take, each with a handler in Go that does nothing.
//
// usage: durable watermill|redis|nats ADDRESS BODY-BYTES
//
// It says "ready", then reads commands, one a line, and answers each with one line of nanoseconds:
//
//	publish N             64 publishers publish N messages, each waiting for its confirmation: how long that took
//	serve N               handles and acknowledges N messages, at most 16 at a time: how long that took
//	latency RATE SECONDS  publishes so many a second, whatever happens, and handles them: from publish to
//	                      acknowledged, at the 50th, 99th and 99.9th percentile
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	publishers  = 64
	concurrency = 16
	topic       = "bench"
)

// A peer is a durable queue and its client.
type peer interface {
	// Publish stores a message and waits for the confirmation.
	publish(ctx context.Context, body []byte) error
	// Serve handles messages until the context ends, and calls done after each acknowledgement.
	serve(ctx context.Context, done func(body []byte)) error
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: durable watermill|redis|nats ADDRESS BODY-BYTES")
	}
	bytes, err := strconv.Atoi(os.Args[3])
	if err != nil || bytes < 8 {
		log.Fatalf("body bytes %q: a number of at least 8", os.Args[3])
	}
	open := map[string]func(context.Context, string) (peer, error){
		"watermill": openWatermill, "redis": openRedis, "nats": openNats,
	}[os.Args[1]]
	if open == nil {
		log.Fatalf("peer %q: watermill, redis or nats", os.Args[1])
	}
	ctx := context.Background()
	queue, err := open(ctx, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := command(ctx, queue, strings.Fields(lines.Text()), bytes)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer)
	}
}

func command(ctx context.Context, queue peer, words []string, bytes int) (string, error) {
	numbers := make([]int, 0, 2)
	for _, word := range words[1:] {
		number, err := strconv.Atoi(word)
		if err != nil {
			return "", err
		}
		numbers = append(numbers, number)
	}
	switch {
	case words[0] == "publish" && len(numbers) == 1:
		took, err := publishAll(ctx, queue, numbers[0], bytes)
		return fmt.Sprint(took.Nanoseconds()), err
	case words[0] == "serve" && len(numbers) == 1:
		took, err := serveAll(ctx, queue, numbers[0])
		return fmt.Sprint(took.Nanoseconds()), err
	case words[0] == "latency" && len(numbers) == 2:
		return latency(ctx, queue, numbers[0], numbers[1], bytes)
	}
	return "", fmt.Errorf("command %v: publish N, serve N or latency RATE SECONDS", words)
}

// stamped is a body that begins with the time.
func stamped(bytes int) []byte {
	body := make([]byte, bytes)
	binary.LittleEndian.PutUint64(body, uint64(time.Now().UnixNano()))
	return body
}

func publishAll(ctx context.Context, queue peer, messages, bytes int) (time.Duration, error) {
	began := time.Now()
	var tasks sync.WaitGroup
	failed := make(chan error, publishers)
	for range publishers {
		tasks.Go(func() {
			for range messages / publishers {
				if err := queue.publish(ctx, stamped(bytes)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	tasks.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return time.Since(began), nil
	}
}

func serveAll(ctx context.Context, queue peer, messages int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var handled atomic.Int64
	began := time.Now()
	var took time.Duration
	err := queue.serve(ctx, func([]byte) {
		if handled.Add(1) == int64(messages) {
			took = time.Since(began)
			cancel()
		}
	})
	if got := handled.Load(); got < int64(messages) {
		return 0, fmt.Errorf("%d of %d messages were handled: %w", got, messages, err)
	}
	return took, nil
}

func latency(ctx context.Context, queue peer, rate, seconds, bytes int) (string, error) {
	// Publishing goes on where serving has ended: a confirmation can come after the message was handled.
	confirmed, end := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+time.Minute)
	defer end()
	ctx, cancel := context.WithCancel(confirmed)
	defer cancel()
	total := rate * seconds
	times := make([]int64, total)
	var handled atomic.Int64
	failed := make(chan error, 1)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		began := time.Now()
		for sent := range total {
			due := began.Add(time.Duration(sent) * time.Second / time.Duration(rate))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
			publishing.Go(func() {
				body := make([]byte, bytes)
				// From when it was due: a sender that is held up does not hide how long others wait.
				binary.LittleEndian.PutUint64(body, uint64(due.UnixNano()))
				if err := queue.publish(confirmed, body); err != nil {
					select {
					case failed <- err:
						cancel()
					default:
					}
				}
			})
		}
	})
	err := queue.serve(ctx, func(body []byte) {
		took := time.Now().UnixNano() - int64(binary.LittleEndian.Uint64(body))
		at := handled.Add(1)
		if at <= int64(total) {
			times[at-1] = took
		}
		if at == int64(total) {
			cancel()
		}
	})
	publishing.Wait()
	select {
	case err := <-failed:
		return "", err
	default:
	}
	if got := handled.Load(); got < int64(total) {
		return "", fmt.Errorf("%d of %d messages were handled: %w", got, total, err)
	}
	slices.Sort(times)
	at := func(part float64) int64 { return times[min(int(part*float64(total)), total-1)] }
	return fmt.Sprintf("%d %d %d", at(0.5), at(0.99), at(0.999)), nil
}
