/* SPDX-License-Identifier: Apache-2.0 */
/* Server, listener and client over a real socket; e2e/ and test-peer.py bring clients that we did
 * not write. */
#include "base/error.h"
#include "base/memory.h"
#include "dra.pb-c.h"
#include "rpc/client.h"
#include "rpc/listener.h"
#include "rpc/pump.h"
#include "rpc/server.h"
#include "unit/suite.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define METHOD "/test.Test/Prepare"

static uv_loop_t loop;
static char directory[64];
static char *path;
static struct rpc_pump *pump;
static struct rpc_server *server;
static struct rpc_listener *listener;
static struct rpc_client *client;
static struct rpc_call *kept_call; /* of METHOD, when should_keep */
static bool should_keep, is_gone, is_stopped;
static unsigned n_replies;
static char reply_text[ERROR_TEXT_SIZE];

static void on_gone(void *owner)
{
        is_gone = true;
}

/* Answers with one device per claim, or keeps the call. */
static void on_prepare(void *owner, struct rpc_call *call, const ProtobufCMessage *message)
{
        const Dra__NodePrepareResourcesRequest *request = (const void *)message;
        Dra__NodePrepareResourceResponse response = DRA__NODE_PREPARE_RESOURCE_RESPONSE__INIT;

        if (should_keep) {
                kept_call = call;
                rpc_call_on_gone(call, on_gone, NULL);
                return;
        }
        response.error = request->n_claims ? request->claims[0]->name : (char *)"none";
        rpc_call_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
        { METHOD, &dra__node_prepare_resources_request__descriptor, on_prepare },
};

static void on_connection(void *owner, int fd)
{
        rpc_server_adopt(server, fd);
}

static void on_reply(void *owner, const ProtobufCMessage *message, const struct error *error)
{
        const Dra__NodePrepareResourceResponse *response = (const void *)message;

        ++n_replies;
        snprintf(reply_text, sizeof(reply_text), "%s", response ? response->error : error->text);
}

static void turn_until(const bool *flag, unsigned n_wanted)
{
        uint64_t end = uv_hrtime() + 10000000000U;

        while ((flag ? !*flag : n_replies < n_wanted) && uv_hrtime() < end)
                uv_run(&loop, UV_RUN_ONCE);
        ck_assert(flag ? *flag : n_replies >= n_wanted);
}

static void enter(void)
{
        struct error error = ERROR_NULL;

        strcpy(directory, "/tmp/test-rpc.XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        path = xasprintf("%s/s.sock", directory);
        uv_loop_init(&loop);
        pump = rpc_pump_start(&loop);
        server = rpc_server_new(&loop, pump);
        rpc_server_add_service(server, methods, 1, NULL);
        rpc_server_start(server);
        listener = rpc_listener_new(&loop, path, on_connection, NULL);
        ck_assert_msg(rpc_listener_listen(listener, &error) == 0, "%s", error.text);
        client = rpc_client_new(pump, path);
}

static void on_pump_stopped(void *owner)
{
}

static void on_stopped(void *owner)
{
        is_stopped = true;
        rpc_pump_stop(pump, on_pump_stopped, NULL);
}

static void leave(void)
{
        rpc_listener_free(listener);
        rpc_client_free(client);
        rpc_server_stop(server, 500, on_stopped, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert(is_stopped);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        ck_assert_msg(rmdir(directory) == 0, "the listener has left something behind");
        free(path);
}

static void call(const char *method, char *name, uint32_t timeout_ms)
{
        Dra__NodePrepareResourcesRequest request = DRA__NODE_PREPARE_RESOURCES_REQUEST__INIT;
        Dra__Claim claim = DRA__CLAIM__INIT, *claims[] = { &claim };

        claim.name = name;
        request.n_claims = 1;
        request.claims = claims;
        rpc_client_call(client, method, &request.base,
                        &dra__node_prepare_resource_response__descriptor, timeout_ms, on_reply,
                        NULL);
}

START_TEST(a_call_is_answered)
{
        enter();
        call(METHOD, (char *)"hello", 5000);
        turn_until(NULL, 1);

        ck_assert_str_eq(reply_text, "hello");
        leave();
}
END_TEST

START_TEST(an_unknown_method_is_unimplemented_at_once)
{
        uint64_t started = uv_hrtime();

        enter();
        call("/test.Test/Other", (char *)"x", 5000);
        turn_until(NULL, 1);

        ck_assert_msg(strstr(reply_text, "status 12") != NULL, "%s", reply_text);
        ck_assert_uint_lt(uv_hrtime() - started, 2000000000U);
        leave();
}
END_TEST

START_TEST(many_calls_at_once_are_all_answered)
{
        enter();
        for (int i = 0; i < 500; ++i)
                call(METHOD, (char *)"x", 10000);
        turn_until(NULL, 500);

        ck_assert_str_eq(reply_text, "x");
        leave();
}
END_TEST

START_TEST(a_message_beyond_the_limit_is_refused_and_the_next_call_served)
{
        char *large = xmalloc(5000001);

        enter();
        memset(large, 'x', 5000000);
        large[5000000] = '\0';
        call(METHOD, large, 10000);
        turn_until(NULL, 1);
        ck_assert_msg(strstr(reply_text, "status 8") != NULL, "%s", reply_text);
        call(METHOD, (char *)"still here", 10000);
        turn_until(NULL, 2);

        ck_assert_str_eq(reply_text, "still here");
        free(large);
        leave();
}
END_TEST

START_TEST(a_caller_whose_time_is_up_is_noticed_and_may_still_be_answered)
{
        Dra__NodePrepareResourceResponse response = DRA__NODE_PREPARE_RESOURCE_RESPONSE__INIT;

        enter();
        should_keep = true;
        call(METHOD, (char *)"x", 300);
        turn_until(&is_gone, 0);
        turn_until(NULL, 1);

        ck_assert_msg(strstr(reply_text, "status 4") != NULL, "%s", reply_text);
        ck_assert_uint_eq(rpc_call_remaining_ms(kept_call), 0);
        rpc_call_reply(kept_call, &response.base);
        leave();
}
END_TEST

START_TEST(stopping_cuts_off_an_unanswered_call)
{
        enter();
        should_keep = true;
        call(METHOD, (char *)"x", 60000);
        while (!kept_call)
                uv_run(&loop, UV_RUN_ONCE);
        rpc_listener_free(listener);
        rpc_server_stop(server, 100, on_stopped, NULL);
        turn_until(&is_gone, 0);
        rpc_call_fail(kept_call, RPC_UNAVAILABLE, "stopping");
        rpc_client_free(client);
        uv_run(&loop, UV_RUN_DEFAULT);

        ck_assert(is_stopped);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
        rmdir(directory);
        free(path);
}
END_TEST

START_TEST(a_socket_without_a_listener_is_an_error_at_once_that_names_it)
{
        enter();
        rpc_listener_withdraw(listener);
        ck_assert_int_lt(access(path, F_OK), 0);
        call(METHOD, (char *)"x", 5000);
        turn_until(NULL, 1);

        ck_assert_msg(strstr(reply_text, path) && strstr(reply_text, "status 14"), "%s",
                      reply_text);
        leave();
}
END_TEST

START_TEST(a_socket_that_vanished_can_be_put_back_while_connections_live_on)
{
        struct error error = ERROR_NULL;
        struct stat file;

        enter();
        call(METHOD, (char *)"first", 5000);
        turn_until(NULL, 1);
        unlink(path);
        ck_assert(!rpc_listener_is_in_place(listener));
        ck_assert_int_eq(rpc_listener_listen(listener, &error), 0);

        ck_assert(rpc_listener_is_in_place(listener));
        ck_assert_int_eq(lstat(path, &file), 0);
        ck_assert_uint_eq(file.st_mode & 0777, 0600);
        call(METHOD, (char *)"second", 5000);
        turn_until(NULL, 2);
        ck_assert_str_eq(reply_text, "second");
        leave();
}
END_TEST

START_TEST(a_successors_socket_is_left_alone)
{
        struct rpc_listener *successor;
        struct error error = ERROR_NULL;

        enter();
        successor = rpc_listener_new(&loop, path, on_connection, NULL);
        ck_assert_int_eq(rpc_listener_listen(successor, &error), 0);
        rpc_listener_withdraw(listener);

        ck_assert(rpc_listener_is_in_place(successor));
        call(METHOD, (char *)"served by the successor", 5000);
        turn_until(NULL, 1);
        ck_assert_str_eq(reply_text, "served by the successor");
        rpc_listener_free(successor);
        leave();
}
END_TEST

START_TEST(a_file_that_is_not_a_socket_is_not_replaced)
{
        struct error error = ERROR_NULL;

        enter();
        rpc_listener_withdraw(listener);
        ck_assert_int_eq(mkdir(path, 0700), 0);

        ck_assert_int_eq(rpc_listener_listen(listener, &error), -EEXIST);
        ck_assert_ptr_nonnull(strstr(error.text, "remove it"));
        rmdir(path);
        leave();
}
END_TEST

START_TEST(only_dead_sockets_are_swept)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        enter();
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/dead", directory);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);

        ck_assert(!rpc_listener_sweep_dead(path));
        ck_assert(rpc_listener_sweep_dead(address.sun_path));
        ck_assert(!rpc_listener_sweep_dead(address.sun_path));
        ck_assert(rpc_listener_is_in_place(listener));
        leave();
}
END_TEST

START_TEST(a_path_that_is_too_long_is_refused_with_the_remedy)
{
        struct error error = ERROR_NULL;
        char longest[120];

        memset(longest, 'a', sizeof(longest));
        longest[0] = '/';
        longest[107] = '\0';
        ck_assert_int_eq(rpc_listener_check_path(longest, &error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error.text, "--kubelet-dir"));
        longest[106] = '\0';
        ck_assert_int_eq(rpc_listener_check_path(longest, &error), 0);
        ck_assert_int_eq(rpc_listener_check_path("relative", &error), -EINVAL);
}
END_TEST

SUITE("rpc", a_call_is_answered, an_unknown_method_is_unimplemented_at_once,
      many_calls_at_once_are_all_answered,
      a_message_beyond_the_limit_is_refused_and_the_next_call_served,
      a_caller_whose_time_is_up_is_noticed_and_may_still_be_answered,
      stopping_cuts_off_an_unanswered_call,
      a_socket_without_a_listener_is_an_error_at_once_that_names_it,
      a_socket_that_vanished_can_be_put_back_while_connections_live_on,
      a_successors_socket_is_left_alone, a_file_that_is_not_a_socket_is_not_replaced,
      only_dead_sockets_are_swept, a_path_that_is_too_long_is_refused_with_the_remedy);
