package main

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream with a work queue in files; the server is told to sync at each write.
type natsQueue struct {
	stream   jetstream.JetStream
	consumer jetstream.Consumer
}

func openNats(ctx context.Context, address string) (peer, error) {
	connection, err := nats.Connect(address)
	if err != nil {
		return nil, err
	}
	stream, err := jetstream.New(connection)
	if err != nil {
		return nil, err
	}
	config := jetstream.StreamConfig{
		Name: topic, Subjects: []string{topic}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	}
	if _, err := stream.CreateOrUpdateStream(ctx, config); err != nil {
		return nil, err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, topic, jetstream.ConsumerConfig{
		Durable: topic, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1024,
	})
	return &natsQueue{stream, consumer}, err
}

func (q *natsQueue) publish(ctx context.Context, body []byte) error {
	_, err := q.stream.Publish(ctx, topic, body)
	return err
}

func (q *natsQueue) serve(ctx context.Context, done func([]byte)) error {
	messages, err := q.consumer.Messages(jetstream.PullMaxMessages(512))
	if err != nil {
		return err
	}
	defer messages.Stop()
	go func() {
		<-ctx.Done()
		messages.Stop()
	}()
	var tasks sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	for {
		message, err := messages.Next()
		if err != nil {
			tasks.Wait()
			return err
		}
		slots <- struct{}{}
		tasks.Go(func() {
			defer func() { <-slots }()
			// As most clients do: not waiting for the server to confirm that it got it.
			if message.Ack() == nil {
				done(message.Data())
			}
		})
	}
}
