package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A stream of Redis with a consumer group; the server is told to sync at each write.
type redisQueue struct{ client *redis.Client }

func openRedis(ctx context.Context, address string) (peer, error) {
	client := redis.NewClient(&redis.Options{Addr: address, PoolSize: publishers + concurrency + 1})
	err := client.XGroupCreateMkStream(ctx, topic, topic, "0").Err()
	return &redisQueue{client}, err
}

func (q *redisQueue) publish(ctx context.Context, body []byte) error {
	return q.client.XAdd(ctx, &redis.XAddArgs{Stream: topic, Values: []any{"body", body}}).Err()
}

func (q *redisQueue) serve(ctx context.Context, done func([]byte)) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	slots := make(chan struct{}, concurrency)
	for ctx.Err() == nil {
		read, err := q.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: topic, Consumer: "one", Streams: []string{topic, ">"}, Count: 128, Block: time.Second,
		}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, message := range read[0].Messages {
			slots <- struct{}{}
			tasks.Go(func() {
				defer func() { <-slots }()
				// Acknowledged and gone, as a message of a queue is.
				_, err := q.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					pipe.XAck(ctx, topic, topic, message.ID)
					pipe.XDel(ctx, topic, message.ID)
					return nil
				})
				if err == nil {
					done([]byte(message.Values["body"].(string)))
				}
			})
		}
	}
	return ctx.Err()
}
