/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/streams.h"

#include "base/memory.h"
#include "rpc/server.h"

struct stream {
        struct list link;
        struct rpc_streams *streams;
        struct rpc_call *call;
        unsigned mark;
        bool is_sending;
        bool is_outdated; /* the message has changed since the one being sent */
};

static void stream_push(struct stream *stream);

static void on_pushed(void *owner)
{
        struct stream *stream = owner;

        stream->is_sending = false;
        if (stream->is_outdated)
                stream_push(stream);
}

static void stream_push(struct stream *stream)
{
        struct rpc_streams *streams = stream->streams;

        stream->is_outdated = stream->is_sending;
        if (stream->is_sending)
                return;
        stream->is_sending = true;
        rpc_call_send(stream->call, streams->message(streams->owner), on_pushed, stream);
}

static void stream_end(struct stream *stream, const char *reason)
{
        rpc_call_fail(stream->call, RPC_UNAVAILABLE, reason);
        list_unlink(&stream->link);
        free(stream);
}

static void on_call_gone(void *owner)
{
        struct stream *stream = owner;
        struct rpc_streams *streams = stream->streams;
        unsigned mark = stream->mark;

        stream_end(stream, "the caller has gone");
        if (streams->on_gone)
                streams->on_gone(streams->owner, mark);
}

void rpc_streams_init(struct rpc_streams *streams)
{
        list_init(&streams->streams);
}

void rpc_streams_open(struct rpc_streams *streams, struct rpc_call *call, unsigned mark)
{
        struct stream *stream = xcalloc(1, sizeof(*stream));

        stream->streams = streams;
        stream->call = call;
        stream->mark = mark;
        list_add_tail(&streams->streams, &stream->link);
        stream_push(stream);
        rpc_call_on_gone(call, on_call_gone, stream);
}

void rpc_streams_push(struct rpc_streams *streams)
{
        struct list *position;

        list_for_each (position, &streams->streams)
                stream_push(container_of(position, struct stream, link));
}

bool rpc_streams_is_empty(const struct rpc_streams *streams)
{
        return list_is_empty(&streams->streams);
}

unsigned rpc_streams_newest_mark(const struct rpc_streams *streams)
{
        return list_is_empty(&streams->streams)
                       ? 0
                       : container_of(streams->streams.previous, struct stream, link)->mark;
}

void rpc_streams_close(struct rpc_streams *streams, const char *reason)
{
        while (!list_is_empty(&streams->streams))
                stream_end(container_of(streams->streams.next, struct stream, link), reason);
}
