//! The functions of the host, and how much work each is.

use wasmpost_msg::Reason;

use super::{LIST, TEXT};

/// The most that a guest may pass to the host in one call: the largest body, and a mebibyte.
const FUEL: u64 = 5 << 20;
/// The largest body, and the most that a delivery may publish.
const BODY: u32 = 4 << 20;
/// The most elements of a list that the host looks at.
const ELEMENTS: u64 = 1024;

/// One function of the host.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The code that the guest runs before the calls.
    pub(crate) before: &'static str,
    /// The call, of size `$n`.
    pub(crate) call: &'static str,
    /// The largest size that is let through, or a little less, so that a third of it is a whole number.
    pub(crate) longest: u32,
    /// How much work each more of the size is.
    pub(crate) slope: u64,
    /// A size beyond what is let through, as far as a guest can pass it at all.
    pub(crate) beyond: u32,
    /// The most work of one call, whatever its size.
    pub(crate) most: u64,
    /// The reason with which a guest fails that makes the call again and again.
    pub(crate) ends: Reason,
}

/// A function that takes a text.
const TEXTS: Row = Row {
    name: "",
    before: "",
    call: "",
    longest: (5 << 20) - (4 << 10),
    slope: 1,
    beyond: 6 << 20,
    most: FUEL,
    ends: Reason::CpuLimit,
};

/// A function that takes a list.
const LISTS: Row = Row { longest: 1023, slope: 1, beyond: 100_000, most: 4 * ELEMENTS, ..TEXTS };

const WRITER: &str = "(call $new_writer (i32.const 2048) (i32.const 6) (i32.const 512))
    (local.set $held (i32.load (i32.const 520)))";
const MADE: &str = "(local.set $held (call $new_message (i32.const TEXT) (i32.const 0)))";
const FIELDS: &str = "(local.set $held (call $new_fields))";
const REQUEST: &str = "(local.set $held (call $new_request (call $new_fields)))";
const CLIENT: &str = "(call $connect (i32.const TEXT) (i32.const 1) (i32.const 512))
    (local.set $k (i32.load (i32.const 516)))";

/// Calls that read the message and the configuration.
pub(crate) const READING: &[Row] = &[
    Row {
        name: "message.id",
        call: "(call $id (local.get $message) (i32.const 512)) (i32.const 0)",
        longest: 510,
        beyond: 0,
        ..TEXTS
    },
    Row {
        name: "message.attributes",
        call: "(call $attributes (local.get $message) (i32.const 512)) (i32.const 0)",
        slope: 2,
        beyond: 0,
        ..LISTS
    },
    Row {
        name: "message.attribute",
        call: "(call $attribute (local.get $message) (i32.const TEXT) (local.get $n) (i32.const 512)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "message.read",
        call: "(call $read (local.get $message) (local.get $n) (i32.const 512)) (i32.const 0)",
        longest: BODY,
        beyond: 0x7fff_ffff,
        ..TEXTS
    },
    Row {
        name: "message.body",
        call: "(call $body (local.get $message) (i32.const 512)) (i32.const 0)",
        longest: BODY,
        beyond: 0,
        ..TEXTS
    },
    Row {
        name: "config.get",
        call: "(call $config (i32.const TEXT) (local.get $n) (i32.const 512)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "config.get-all",
        call: "(call $config_all (i32.const 512)) (i32.const 0)",
        slope: 6,
        most: 8 * ELEMENTS,
        beyond: 0,
        ..LISTS
    },
];

/// Calls that publish.
pub(crate) const PUBLISHING: &[Row] = &[
    Row {
        name: "topic.new-writer, the name",
        call: "(call $new_writer (i32.const TEXT) (local.get $n) (i32.const 512)) (i32.const 0)",
        ends: Reason::PublishLimit,
        ..TEXTS
    },
    Row {
        name: "topic.new-writer, the handles",
        call: "(block (result i32) (local.set $k (i32.const 0)) (loop $more
            (call $new_writer (i32.const 2048) (i32.const 6) (i32.const 512))
            (br_if $more (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
            (i32.const 0))",
        slope: 7,
        most: 8 * ELEMENTS,
        ends: Reason::HandleLimit,
        ..LISTS
    },
    Row {
        name: "topic.publish, the values of a name",
        before: "(call $list (local.get $n) (i32.const 8) (i32.const 0) (i32.const 0))
            (i32.store (i32.const 1536) (i32.const TEXT)) (i32.store (i32.const 1540) (i32.const 1))
            (i32.store (i32.const 1544) (i32.const LIST)) (i32.store (i32.const 1548) (local.get $n))",
        call: "(call $publish (i32.const 2048) (i32.const 6) (i32.const 1536) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 512)) (i32.load8_u (i32.const 512))",
        // Each value is taken, and checked with its name of one letter.
        slope: 3,
        ..LISTS
    },
    Row {
        name: "topic.publish, the names",
        before: "(call $list (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0))",
        call: "(call $publish (i32.const 2048) (i32.const 6) (i32.const LIST) (local.get $n)
            (i32.const 0) (i32.const 0) (i32.const 512)) (i32.load8_u (i32.const 512))",
        slope: 2,
        beyond: 50_000,
        ..LISTS
    },
    Row {
        name: "topic.publish, the body",
        call: "(call $publish (i32.const 2048) (i32.const 6) (i32.const 0) (i32.const 0)
            (i32.const TEXT) (local.get $n) (i32.const 512)) (i32.load8_u (i32.const 512))",
        longest: 1 << 20,
        ..TEXTS
    },
    Row {
        name: "message-writer.set-attribute",
        before: WRITER,
        call: "(call $set_attribute (local.get $held) (i32.const TEXT) (i32.const 1) (i32.const TEXT) (local.get $n)
            (i32.const 512)) (i32.load8_u (i32.const 512))",
        longest: 4 << 10,
        ..TEXTS
    },
    Row {
        name: "message-writer.append-attribute",
        before: WRITER,
        call: "(call $append_attribute (local.get $held) (i32.const TEXT) (local.get $n) (i32.const TEXT) (i32.const 1)
            (i32.const 512)) (i32.load8_u (i32.const 512))",
        longest: 256,
        ..TEXTS
    },
    Row {
        name: "message-writer.write",
        before: WRITER,
        call: "(call $write (local.get $held) (i32.const TEXT) (local.get $n) (i32.const 512))
            (i32.load8_u (i32.const 512))",
        longest: 1 << 20,
        ..TEXTS
    },
];

/// Calls that write to the log, or wait.
pub(crate) const OUTPUT: &[Row] = &[
    Row {
        name: "logging.log, the context",
        call: "(call $log (i32.const 2) (i32.const TEXT) (local.get $n) (i32.const TEXT) (i32.const 1)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "logging.log, the message",
        call: "(call $log (i32.const 2) (i32.const TEXT) (i32.const 1) (i32.const TEXT) (local.get $n)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "standard output",
        before: "(local.set $held (call $stdout))",
        call: "(call $check_write (local.get $held) (i32.const 512))
            (call $write_out (local.get $held) (i32.const TEXT) (local.get $n) (i32.const 512))
            (i32.load8_u (i32.const 512))",
        longest: 63 << 10,
        ..TEXTS
    },
    Row {
        name: "poll",
        before: "(call $handles (local.get $n) (call $subscribe (i64.const 0)))",
        call: "(call $poll (i32.const LIST) (local.get $n) (i32.const 512)) (i32.const 0)",
        // Waiting takes a handle for each, beside those that there are.
        longest: 1020,
        ..LISTS
    },
];

/// Requests of HTTP, and their fields. A field takes more of their bytes than it has, and only so many of a name fit.
pub(crate) const REQUESTING: &[Row] = &[
    Row {
        name: "fields.from-list",
        before: "(call $list (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0))",
        call: "(call $fields_of (i32.const LIST) (local.get $n) (i32.const 512))
            (call $drop_fields (i32.load (i32.const 516))) (i32.load8_u (i32.const 512))",
        longest: 810,
        slope: 2,
        ..LISTS
    },
    Row {
        name: "fields.set",
        before: "(call $list (local.get $n) (i32.const 8) (i32.const 0) (i32.const 0)) FIELDS",
        call: "(call $set_field (local.get $held) (i32.const TEXT) (i32.const 1) (i32.const LIST) (local.get $n)
            (i32.const 512)) (i32.load8_u (i32.const 512))",
        longest: 810,
        ..LISTS
    },
    Row {
        name: "fields.append",
        call: "(local.set $held (call $new_fields))
            (call $append_field (local.get $held) (i32.const TEXT) (i32.const 1) (i32.const TEXT) (local.get $n)
            (i32.const 512)) (call $drop_fields (local.get $held)) (i32.load8_u (i32.const 512))",
        longest: 30 << 10,
        ..TEXTS
    },
    Row {
        name: "fields.entries",
        before: "(call $list (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0))
            (call $fields_of (i32.const LIST) (local.get $n) (i32.const 512))
            (local.set $held (i32.load (i32.const 516)))",
        call: "(call $entries (local.get $held) (i32.const 512)) (i32.const 0)",
        longest: 810,
        slope: 4,
        ..LISTS
    },
    Row {
        name: "outgoing-request.set-method",
        before: REQUEST,
        call: "(call $set_method (local.get $held) (i32.const 9) (i32.const TEXT) (local.get $n))",
        longest: 63,
        ..TEXTS
    },
    Row {
        name: "outgoing-request.set-path-with-query",
        before: "REQUEST (i32.store8 (i32.const TEXT) (i32.const 0x2f))",
        call: "(call $set_path (local.get $held) (i32.const 1) (i32.const TEXT) (local.get $n))",
        longest: 8 << 10,
        ..TEXTS
    },
    Row {
        name: "outgoing-request.set-authority",
        before: REQUEST,
        call: "(call $set_authority (local.get $held) (i32.const 1) (i32.const TEXT) (local.get $n))",
        longest: 510,
        ..TEXTS
    },
];

/// Calls of other worlds.
pub(crate) const WORLDS: &[Row] = &[
    Row {
        name: "client.connect",
        call: "(call $connect (i32.const TEXT) (local.get $n) (i32.const 512))
            (call $drop_client (i32.load (i32.const 516))) (i32.load8_u (i32.const 512))",
        ..TEXTS
    },
    Row {
        name: "message.new",
        call: "(call $drop_made (call $new_message (i32.const TEXT) (local.get $n))) (i32.const 0)",
        longest: BODY,
        ends: Reason::PublishLimit,
        ..TEXTS
    },
    Row {
        name: "message.set-data",
        before: MADE,
        call: "(call $set_data (local.get $held) (i32.const TEXT) (local.get $n)) (i32.const 0)",
        longest: BODY,
        ends: Reason::PublishLimit,
        ..TEXTS
    },
    Row {
        name: "message.data",
        before: "(local.set $held (call $new_message (i32.const TEXT) (local.get $n)))",
        call: "(call $data (local.get $held) (i32.const 512)) (i32.const 0)",
        longest: BODY,
        slope: 2,
        most: 2 * FUEL,
        ..TEXTS
    },
    Row {
        name: "message.set-content-type",
        before: MADE,
        call: "(call $set_content_type (local.get $held) (i32.const TEXT) (local.get $n)) (i32.const 0)",
        longest: 4 << 10,
        ends: Reason::PublishLimit,
        ..TEXTS
    },
    Row {
        name: "message.content-type",
        before: "MADE (call $set_content_type (local.get $held) (i32.const TEXT) (local.get $n))",
        call: "(call $content_type (local.get $held) (i32.const 512)) (i32.const 0)",
        longest: 4 << 10,
        slope: 2,
        ..TEXTS
    },
    Row {
        name: "message.set-metadata",
        before: "MADE (call $list (local.get $n) (i32.const 16) (i32.const 1) (i32.const 0))",
        call: "(call $set_metadata (local.get $held) (i32.const LIST) (local.get $n)) (i32.const 0)",
        // Each pair is taken, and checked with its name of one letter.
        slope: 3,
        ends: Reason::PublishLimit,
        ..LISTS
    },
    Row {
        name: "message.metadata",
        before: "MADE (call $add_metadata (local.get $held) (i32.const TEXT) (i32.const 1) (i32.const TEXT) (local.get $n))",
        call: "(call $metadata (local.get $held) (i32.const 512)) (i32.const 0)",
        longest: 4 << 10,
        slope: 2,
        ..TEXTS
    },
    Row {
        name: "message.remove-metadata",
        before: MADE,
        call: "(call $remove_metadata (local.get $held) (i32.const TEXT) (local.get $n)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "producer.send",
        before: CLIENT,
        call: "(call $send (local.get $k) (i32.const TEXT) (local.get $n)
            (call $new_message (i32.const TEXT) (i32.const 0)) (i32.const 512)) (i32.const 0)",
        ends: Reason::PublishLimit,
        ..TEXTS
    },
    Row {
        name: "request-reply.request",
        before: "CLIENT MADE",
        call: "(call $request (local.get $k) (i32.const TEXT) (local.get $n) (local.get $held) (i32.const 0)
            (i32.const 0) (i32.const 512)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "consumer.request",
        call: "(call $cloud_request (i32.const TEXT) (i32.const 1) (i32.const TEXT) (local.get $n) (i32.const 1)
            (i32.const 512)) (i32.const 0)",
        ..TEXTS
    },
    Row {
        name: "consumer.publish",
        call: "(call $cloud_publish (i32.const 2048) (i32.const 6) (i32.const TEXT) (local.get $n)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 512)) (i32.load8_u (i32.const 512))",
        longest: 1 << 20,
        ..TEXTS
    },
];

/// A text of a row with its constants put in.
pub(crate) fn filled(text: &str) -> String {
    let text = [("MADE", MADE), ("CLIENT", CLIENT), ("FIELDS", FIELDS), ("REQUEST", REQUEST)]
        .iter()
        .fold(text.to_owned(), |text, (name, given)| text.replace(name, given));
    text.replace("TEXT", &TEXT.to_string()).replace("LIST", &LIST.to_string())
}
