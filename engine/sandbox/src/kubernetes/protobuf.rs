//! Bodies in protocol buffers, as newer `kubectl create` sends them: read into JSON, for the few kinds it makes.
//!
//! A field that is not in the tables and is not empty is an error: nothing that was asked for is dropped in silence.

mod messages;

use base64::Engine;
use serde_json::{Map, Value, json};

use super::status::ApiError;

/// What the bytes of an object begin with.
const MAGIC: &[u8] = b"k8s\0";

/// How a field is written.
#[derive(Debug, Clone, Copy)]
enum Type {
    /// Text that is left out where it is empty.
    Text,
    /// A number that is left out at nought.
    Number,
    /// A number of which nought is a value, too.
    Count,
    /// As [`Type::Number`], yes or no.
    Flag,
    /// As [`Type::Count`], yes or no.
    Choice,
    Time,
    NumberOrText,
    Message(&'static Message),
    TextMap,
    BytesMap,
    /// What the server says of an object, which nobody else need say.
    Ignored,
}

/// One field: its number, its name, its type, and whether it is a list.
type Field = (u64, &'static str, Type, bool);

/// One message.
#[derive(Debug)]
struct Message {
    name: &'static str,
    fields: &'static [Field],
}

/// Reads an object out of its envelope, with its kind.
///
/// # Errors
/// Where the bytes are damaged, or say what is not known here.
pub(super) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    let envelope = body
        .strip_prefix(MAGIC)
        .ok_or_else(|| unreadable("there is no envelope"))?;
    let (mut kind, mut version, mut raw): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
    for (number, value) in fields(envelope)? {
        match (number, value) {
            (1, Wire::Bytes(typed)) => {
                for (number, value) in fields(typed)? {
                    match (number, value) {
                        (1, Wire::Bytes(text)) => version = text,
                        (2, Wire::Bytes(text)) => kind = text,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (kind, version) = (text(kind)?, text(version)?);
    let message = messages::find(version, kind).ok_or_else(|| unknown(kind))?;
    let mut object = json!({"apiVersion": version, "kind": kind});
    if let (Value::Object(object), Value::Object(read)) = (&mut object, read(message, raw)?) {
        object.extend(read);
    }
    Ok(object)
}

fn unknown(kind: &str) -> ApiError {
    ApiError::unsupported_media_type(
        &format!("application/vnd.kubernetes.protobuf of a {kind}"),
        "application/json, application/yaml; send it with `kubectl apply`",
    )
}

fn unreadable(why: &str) -> ApiError {
    ApiError::bad_request(format!("the body cannot be read as protocol buffers: {why}"))
}

fn text(bytes: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(bytes).map_err(|_| unreadable("text is not UTF-8"))
}

/// One value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wire<'b> {
    Varint(u64),
    Bytes(&'b [u8]),
}

impl Wire<'_> {
    fn is_empty(self) -> bool {
        matches!(self, Self::Varint(0) | Self::Bytes([]))
    }
}

/// The fields of a message, in their order.
fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, ApiError> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX);
                let (value, rest) = bytes
                    .split_at_checked(length)
                    .ok_or_else(|| unreadable("it ends too early"))?;
                bytes = rest;
                Wire::Bytes(value)
            }
            _ => return Err(unreadable("it holds a type of value that is not used")),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ApiError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(|| unreadable("it ends too early"))?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(unreadable("a number is too long"))
}

fn read(message: &Message, bytes: &[u8]) -> Result<Value, ApiError> {
    let mut object = Map::new();
    for (number, wire) in fields(bytes)? {
        let Some((_, name, of_type, is_list)) = message.fields.iter().find(|field| field.0 == number) else {
            if wire.is_empty() {
                continue;
            }
            let why = format!("field {number} of {} is not known here; send JSON", message.name);
            return Err(unreadable(&why));
        };
        match (value(*of_type, wire)?, is_list) {
            (value, true) => {
                // In a list an empty text is a value: the core group, for one.
                let value = if value.is_null() { json!("") } else { value };
                let list = object.entry(*name).or_insert_with(|| json!([]));
                list.as_array_mut()
                    .into_iter()
                    .for_each(|list| list.push(value.clone()));
            }
            (Value::Null, false) => {}
            (Value::Object(entry), false) if matches!(of_type, Type::TextMap | Type::BytesMap) => {
                let map = object.entry(*name).or_insert_with(|| json!({}));
                map.as_object_mut()
                    .into_iter()
                    .for_each(|map| map.extend(entry.clone()));
            }
            (Value::Object(empty), false) if empty.is_empty() => {}
            (value, false) => drop(object.insert((*name).to_owned(), value)),
        }
    }
    Ok(Value::Object(object))
}

fn value(of_type: Type, wire: Wire<'_>) -> Result<Value, ApiError> {
    Ok(match (of_type, wire) {
        (Type::Number | Type::Flag, Wire::Varint(0)) | (Type::Text, Wire::Bytes([])) | (Type::Ignored, _) => {
            Value::Null
        }
        (Type::Text, Wire::Bytes(bytes)) => json!(text(bytes)?),
        (Type::Number | Type::Count, Wire::Varint(number)) => json!(number.cast_signed()),
        (Type::Flag | Type::Choice, Wire::Varint(number)) => json!(number != 0),
        (Type::Time, Wire::Bytes(bytes)) => time(bytes)?,
        (Type::NumberOrText, Wire::Bytes(bytes)) => number_or_text(bytes)?,
        (Type::Message(message), Wire::Bytes(bytes)) => read(message, bytes)?,
        (Type::TextMap, Wire::Bytes(bytes)) => entry(bytes, |value| Ok(json!(text(value)?)))?,
        (Type::BytesMap, Wire::Bytes(bytes)) => entry(bytes, |value| {
            Ok(json!(base64::engine::general_purpose::STANDARD.encode(value)))
        })?,
        _ => return Err(unreadable("a field is of another type than it should be")),
    })
}

fn time(bytes: &[u8]) -> Result<Value, ApiError> {
    let seconds = fields(bytes)?.into_iter().find_map(|field| match field {
        (1, Wire::Varint(seconds)) => Some(seconds.cast_signed()),
        _ => None,
    });
    let at = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    Ok(at.map_or(Value::Null, |at| json!(super::object::seconds(at))))
}

fn number_or_text(bytes: &[u8]) -> Result<Value, ApiError> {
    let (mut is_text, mut number, mut word) = (false, 0, "");
    for field in fields(bytes)? {
        match field {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => word = text(value)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(word) } else { json!(number) })
}

fn entry(bytes: &[u8], read: impl Fn(&[u8]) -> Result<Value, ApiError>) -> Result<Value, ApiError> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    for field in fields(bytes)? {
        match field {
            (1, Wire::Bytes(bytes)) => key = bytes,
            (2, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok(json!({text(key)?: read(value)?}))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn enveloped(kind: &str, raw: &[u8]) -> Vec<u8> {
        let typed = [bytes(1, b"v1"), bytes(2, kind.as_bytes())].concat();
        [MAGIC, &bytes(1, &typed), &bytes(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata = [bytes(1, b"one"), bytes(2, b""), bytes(8, b"")].concat();
        let raw = [
            bytes(1, &metadata),
            bytes(2, &[bytes(1, b"a"), bytes(2, b"1")].concat()),
            bytes(3, &[bytes(1, b"b"), bytes(2, &[255])].concat()),
        ]
        .concat();
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}, "binaryData": {"b": "/w=="}});
        assert_eq!(parse(&enveloped("ConfigMap", &raw)).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let raw = bytes(15, b"x");
        let error = parse(&enveloped("ConfigMap", &raw)).unwrap_err().to_status();
        assert!(error["message"].as_str().unwrap().contains("field 15 of ConfigMap"));
        assert_eq!(parse(&enveloped("Widget", &raw)).unwrap_err().code, 415);
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_an_error_and_no_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = enveloped("Deployment", &body.iter().copied().take(120).collect::<Vec<_>>());
            drop(parse(&whole));
            drop(parse(&body));
        }
    }
}
