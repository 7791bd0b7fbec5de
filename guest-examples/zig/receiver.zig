//! Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.

const std = @import("std");
const wit = @cImport(@cInclude("plugin.h"));

const Message = wit.wasmpost_messaging_types_borrow_message_t;
const Failure = wit.exports_wasmpost_messaging_receiver_failure_t;
const Attributes = wit.wasmpost_messaging_topic_attributes_t;
const Attribute = wit.plugin_tuple2_string_list_string_t;

/// Attributes that go on to the next topic.
const forwarded = [_][]const u8{ "Content-Type", "X-Github-Delivery", "X-Github-Event", "X-Github-Tag" };

/// malloc and free, as the generated code uses them: either side frees what the other one took.
const allocator = std.heap.raw_c_allocator;

/// Of several values of one name, the last counts.
const lenient = std.json.ParseOptions{ .duplicate_field_behavior = .use_last };

const Error = error{ Failed, OutOfMemory };

/// What a webhook is looked at for.
const Webhook = struct {
    poison: bool = false,
    action: ?[]const u8 = null,
    repository: ?[]const u8 = null,
};

export fn exports_wasmpost_messaging_receiver_receive(message: Message, failure: *Failure) bool {
    // The message is lent for the call, and has to be given back.
    defer wit.wasmpost_messaging_types_message_drop_borrow(message);
    var arena = std.heap.ArenaAllocator.init(allocator);
    defer arena.deinit();
    triage(arena.allocator(), message, failure) catch |fault| switch (fault) {
        error.Failed => return false,
        error.OutOfMemory => @panic("out of memory"),
    };
    return true;
}

fn triage(arena: std.mem.Allocator, message: Message, failure: *Failure) Error!void {
    const event = try eventOf(arena, message, failure);
    var body: wit.plugin_list_u8_t = undefined;
    wit.wasmpost_messaging_types_method_message_body(message, &body);
    defer wit.plugin_list_u8_free(&body);

    const content_type = try attribute(arena, message, "Content-Type") orelse "";
    const is_binary = std.mem.eql(u8, content_type, "application/octet-stream");
    const webhook = if (is_binary) Webhook{} else try parse(arena, body.ptr[0..body.len], failure);
    if (webhook.poison) @panic("poison message");
    if (std.mem.eql(u8, event, "fork") and wit.wasmpost_messaging_types_method_message_attempt(message) == 1) {
        return putOff(arena, failure);
    }

    const topic = try std.fmt.allocPrint(arena, "github.{s}", .{event});
    var all: Attributes = undefined;
    wit.wasmpost_messaging_types_method_message_attributes(message, &all);
    defer wit.wasmpost_messaging_topic_attributes_free(&all);
    var told = try attributes(arena, all.ptr[0..all.len], webhook);
    var name = borrowed(topic);
    var refused: wit.wasmpost_messaging_topic_publish_error_t = undefined;
    if (!wit.wasmpost_messaging_topic_publish(&name, &told, &body, &refused)) {
        defer wit.wasmpost_messaging_topic_publish_error_free(&refused);
        const kinds = [_][]const u8{ "closed", "denied", "too-large", "limit-exceeded", "invalid-attribute" };
        return fail(failure, wit.WASMPOST_MESSAGING_TYPES_FAILURE_RETRY, "not published: {s}", .{kinds[refused.tag]});
    }
    var id: wit.plugin_string_t = undefined;
    wit.wasmpost_messaging_types_method_message_id(message, &id);
    defer wit.plugin_string_free(&id);
    log(wit.WASI_LOGGING_LOGGING_LEVEL_INFO, "triage", try std.fmt.allocPrint(arena, "{s} to {s}", .{ slice(id), topic }));
}

/// The event of the webhook, such as `pull_request`, which becomes part of a topic's name.
fn eventOf(arena: std.mem.Allocator, message: Message, failure: *Failure) Error![]const u8 {
    const event = try attribute(arena, message, "X-Github-Event") orelse
        return reject(failure, "attribute X-Github-Event is missing", .{});
    for (event) |letter| {
        if (!std.ascii.isAlphanumeric(letter) and letter != '_') break;
    } else if (event.len > 0) {
        return std.ascii.allocLowerString(arena, event);
    }
    return reject(failure, "attribute X-Github-Event is no event: \"{s}\"", .{event});
}

fn parse(arena: std.mem.Allocator, body: []const u8, failure: *Failure) Error!Webhook {
    const parsed = std.json.parseFromSliceLeaky(std.json.Value, arena, body, lenient) catch |fault|
        return reject(failure, "body is not JSON: {s}", .{@errorName(fault)});
    const object = switch (parsed) {
        .object => |object| object,
        else => return reject(failure, "body is JSON, but no object", .{}),
    };
    const repository = if (object.get("repository")) |value| switch (value) {
        .object => |inner| text(inner.get("full_name")),
        else => null,
    } else null;
    const poison = if (object.get("poison")) |value| value == .bool and value.bool else false;
    return .{ .poison = poison, .action = text(object.get("action")), .repository = repository };
}

fn text(value: ?std.json.Value) ?[]const u8 {
    return switch (value orelse return null) {
        .string => |string| string,
        else => null,
    };
}

/// Puts a webhook of a fork off once, as a receiver does that waits for another system.
fn putOff(arena: std.mem.Allocator, failure: *Failure) Error {
    var key = borrowed("retry_after_ms");
    var given: wit.plugin_option_string_t = undefined;
    var unreadable: wit.wasi_config_store_error_t = undefined;
    var millis: u64 = 2000;
    if (wit.wasi_config_store_get(&key, &given, &unreadable) and given.is_some) {
        const word = try arena.dupe(u8, slice(given.val));
        wit.plugin_string_free(&given.val);
        millis = std.fmt.parseInt(u64, word, 10) catch
            return reject(failure, "retry_after_ms is no number: \"{s}\"", .{word});
    }
    failure.tag = wit.WASMPOST_MESSAGING_TYPES_FAILURE_RETRY_AFTER;
    failure.val.retry_after.f0 = millis *| std.time.ns_per_ms;
    failure.val.retry_after.f1 = owned("fork is not ready yet");
    return error.Failed;
}

/// What later receivers can tell webhooks apart by without parsing them again.
fn attributes(arena: std.mem.Allocator, all: []const Attribute, webhook: Webhook) Error!Attributes {
    var kept = try std.ArrayList(Attribute).initCapacity(arena, all.len + 2);
    for (all) |each| {
        for (forwarded) |name| {
            if (std.mem.eql(u8, name, slice(each.f0))) kept.appendAssumeCapacity(each);
        }
    }
    const found = [_]struct { []const u8, ?[]const u8 }{
        .{ "Action", webhook.action },
        .{ "Repository", webhook.repository },
    };
    for (found) |pair| {
        const value = pair[1] orelse continue;
        const values = try arena.alloc(wit.plugin_string_t, 1);
        values[0] = borrowed(value);
        kept.appendAssumeCapacity(.{ .f0 = borrowed(pair[0]), .f1 = .{ .ptr = values.ptr, .len = 1 } });
    }
    return .{ .ptr = kept.items.ptr, .len = kept.items.len };
}

/// The first value of an attribute.
fn attribute(arena: std.mem.Allocator, message: Message, name: []const u8) Error!?[]const u8 {
    var key = borrowed(name);
    var value: wit.plugin_string_t = undefined;
    if (!wit.wasmpost_messaging_types_method_message_attribute(message, &key, &value)) return null;
    defer wit.plugin_string_free(&value);
    return try arena.dupe(u8, slice(value));
}

fn reject(failure: *Failure, comptime format: []const u8, arguments: anytype) Error {
    return fail(failure, wit.WASMPOST_MESSAGING_TYPES_FAILURE_REJECT, format, arguments);
}

fn fail(failure: *Failure, tag: u8, comptime format: []const u8, arguments: anytype) Error {
    // The text goes to the host, and is given back by the generated code.
    const told = try std.fmt.allocPrint(allocator, format, arguments);
    failure.tag = tag;
    failure.val.retry = borrowed(told);
    return error.Failed;
}

fn log(level: wit.wasi_logging_logging_level_t, context: []const u8, line: []const u8) void {
    var where = borrowed(context);
    var what = borrowed(line);
    wit.wasi_logging_logging_log(level, &where, &what);
}

fn borrowed(bytes: []const u8) wit.plugin_string_t {
    return .{ .ptr = @constCast(bytes.ptr), .len = bytes.len };
}

fn owned(bytes: []const u8) wit.plugin_string_t {
    return borrowed(allocator.dupe(u8, bytes) catch @panic("out of memory"));
}

fn slice(string: wit.plugin_string_t) []const u8 {
    return string.ptr[0..string.len];
}

/// A panic ends the instance; the log then tells why.
pub const panic = std.debug.FullPanic(struct {
    fn panicked(line: []const u8, _: ?usize) noreturn {
        log(wit.WASI_LOGGING_LOGGING_LEVEL_ERROR, "panic", line);
        @trap();
    }
}.panicked);
