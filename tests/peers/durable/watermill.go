package main

import (
	"context"
	stdsql "database/sql"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// Watermill with its queue in Postgres, which deletes what was acknowledged.
type watermillQueue struct {
	publisher *sql.Publisher
	db        sql.Beginner
}

func openWatermill(_ context.Context, address string) (peer, error) {
	db, err := stdsql.Open("pgx", address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(publishers + concurrency)
	db.SetMaxIdleConns(publishers + concurrency)
	beginner := sql.BeginnerFromStdSQL(db)
	publisher, err := sql.NewPublisher(beginner, sql.PublisherConfig{SchemaAdapter: schema()}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	queue := &watermillQueue{publisher, beginner}
	// The tables are made before publishers come side by side.
	subscriber, err := queue.subscriber()
	if err != nil {
		return nil, err
	}
	defer subscriber.Close()
	return queue, subscriber.SubscribeInitialize(topic)
}

func (q *watermillQueue) publish(_ context.Context, body []byte) error {
	return q.publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), body))
}

func (q *watermillQueue) serve(ctx context.Context, done func([]byte)) error {
	// One subscriber, which gets a hundred messages at a time: it locks their rows, so that others would wait for it.
	subscriber, err := q.subscriber()
	if err != nil {
		return err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	for message := range messages {
		message.Ack()
		done(message.Payload)
	}
	return ctx.Err()
}

func (q *watermillQueue) subscriber() (*sql.Subscriber, error) {
	return sql.NewSubscriber(q.db, sql.SubscriberConfig{
		SchemaAdapter: schema(), OffsetsAdapter: sql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: true},
		InitializeSchema: true, PollInterval: 10 * time.Millisecond,
	}, watermill.NopLogger{})
}

func schema() sql.PostgreSQLQueueSchema {
	return sql.PostgreSQLQueueSchema{GeneratePayloadType: func(string) string { return "BYTEA" }}
}
