//! Connection strings as libpq reads them: a URL, or `key=value` pairs. No error repeats a value: it may be a password.

use std::collections::BTreeMap;

use jm_step::StepError;
use percent_encoding::percent_decode_str;

/// Parameters by libpq's keywords. `host` and `port` may be lists with commas.
pub(crate) type Parameters = BTreeMap<String, String>;

/// Reads a connection string of either form.
pub(crate) fn parse(text: &str) -> Result<Parameters, StepError> {
    let rest = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) => parse_url(rest),
        None if text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains('=')) => {
            Err(malformed("its scheme is not `postgresql://`"))
        }
        None => parse_pairs(text),
    }
}

fn malformed(what: &str) -> StepError {
    StepError::invalid_input(format!("the connection string cannot be read: {what}"))
        .hint("write `postgresql://user@host:5432/database`, with special characters percent-encoded")
}

fn parse_url(rest: &str) -> Result<Parameters, StepError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parameters = Parameters::new();
    let hosts = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            put_user(&mut parameters, user)?;
            hosts
        }
        None => authority,
    };
    put_hosts(&mut parameters, hosts)?;
    put(&mut parameters, "dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        put_query(&mut parameters, pair)?;
    }
    Ok(parameters)
}

fn put_user(parameters: &mut Parameters, user: &str) -> Result<(), StepError> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    put(parameters, "user", user)?;
    put(parameters, "password", password)
}

fn put_hosts(parameters: &mut Parameters, hosts: &str) -> Result<(), StepError> {
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',') {
        let (name, port) = split_port(host)?;
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    put_list(parameters, "host", &names);
    put_list(parameters, "port", &ports);
    Ok(())
}

fn put_list(parameters: &mut Parameters, key: &str, values: &[String]) {
    if values.iter().any(|value| !value.is_empty()) {
        parameters.insert(key.to_owned(), values.join(","));
    }
}

fn split_port(host: &str) -> Result<(&str, &str), StepError> {
    if let Some(rest) = host.strip_prefix('[') {
        let (name, after) = rest.split_once(']').ok_or_else(|| malformed("`[` without `]`"))?;
        return Ok((name, after.strip_prefix(':').unwrap_or("")));
    }
    Ok(host.split_once(':').unwrap_or((host, "")))
}

fn put_query(parameters: &mut Parameters, pair: &str) -> Result<(), StepError> {
    let (key, value) = pair
        .split_once('=')
        .ok_or_else(|| malformed("a parameter after `?` has no `=`"))?;
    match (decode(key)?.as_str(), value) {
        ("ssl", "true") => put(parameters, "sslmode", "require"),
        (key, value) => put(parameters, key, value),
    }
}

/// An empty value is as good as none, as for libpq.
fn put(parameters: &mut Parameters, key: &str, value: &str) -> Result<(), StepError> {
    if !value.is_empty() {
        parameters.insert(key.to_owned(), decode(value)?);
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, StepError> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| malformed("a percent-encoded part is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(malformed("it holds a zero byte"));
    }
    Ok(decoded.into_owned())
}

fn parse_pairs(text: &str) -> Result<Parameters, StepError> {
    let mut parameters = Parameters::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(parameters);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if key.is_empty() || chars.next() != Some('=') {
            return Err(malformed("a keyword is not followed by `=`"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let value = pair_value(&mut chars)?;
        if !value.is_empty() {
            parameters.insert(key, value);
        }
    }
}

fn pair_value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, StepError> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('\'') if quoted => return Ok(value),
            Some(c) if !quoted && c.is_whitespace() => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
            None if quoted => return Err(malformed("a quote is not closed")),
            None => return Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).expect("readable").into_iter().collect()
    }

    fn expected(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        assert_eq!(
            pairs("postgresql://jm:p%40ss@db.example:5433/app?sslmode=verify-full&connect_timeout=5"),
            expected(&[
                ("connect_timeout", "5"),
                ("dbname", "app"),
                ("host", "db.example"),
                ("password", "p@ss"),
                ("port", "5433"),
                ("sslmode", "verify-full"),
                ("user", "jm"),
            ])
        );
        assert_eq!(
            pairs("postgres://a:1,[::1]:2/x"),
            expected(&[("dbname", "x"), ("host", "a,::1"), ("port", "1,2")])
        );
        assert_eq!(
            pairs("postgresql://%2Frun%2Fpostgresql/app?ssl=true"),
            expected(&[("dbname", "app"), ("host", "/run/postgresql"), ("sslmode", "require")])
        );
        assert_eq!(pairs("postgresql://"), expected(&[]));
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        assert_eq!(
            pairs(r"host = /tmp  dbname='my db' password='it\'s' user=a\ b"),
            expected(&[
                ("dbname", "my db"),
                ("host", "/tmp"),
                ("password", "it's"),
                ("user", "a b")
            ])
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_value() {
        for bad in [
            "mysql://hunter22@x",
            "host",
            "password='hunter22",
            "postgresql://hunter22@[::1/x",
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(!format!("{error:?}").contains("hunter22"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn a_password_survives_both_forms(password in "[^\\x00]{1,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC);
            let url = parse(&format!("postgresql://u:{encoded}@h/d")).expect("url");
            prop_assert_eq!(&url["password"], &password);
            let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
            let pairs = parse(&format!("user=u password='{quoted}' dbname=d")).expect("pairs");
            prop_assert_eq!(&pairs["password"], &password);
        }
    }
}
