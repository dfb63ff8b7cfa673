//! The words of a statement: which of them psql counts, and which statements are refused.

use std::mem;

use super::{Script, ScriptError, State};

/// Words at the start of a statement that say what it is.
const WORDS: usize = 5;
/// So many of them tell psql whether a statement makes a function.
const IDENTIFIERS: usize = 4;

impl Script {
    /// A statement has begun, even if its first token is no word.
    pub(super) fn mark(&mut self) {
        if self.words.is_empty() {
            self.words.push(String::new());
        }
    }

    pub(super) fn end_word(&mut self) -> Result<(), ScriptError> {
        if self.word.is_empty() {
            return Ok(());
        }
        let word = String::from_utf8_lossy(&mem::take(&mut self.word)).into_owned();
        // A query in parentheses may read from a table of that name.
        if self.parentheses == 0 {
            self.copy_stdin |= self.copy_from && word == "stdin";
            self.copy_from = word == "from";
        }
        if self.identifiers.len() < IDENTIFIERS && !word.starts_with(|first: char| first.is_ascii_digit()) {
            self.identifiers.push(word.clone());
        }
        self.body_word(&word);
        if self.words.len() < WORDS {
            self.words.push(word);
            self.judge()?;
        }
        Ok(())
    }

    /// As psql counts: inside the body of a function in standard SQL a semicolon ends nothing.
    fn body_word(&mut self, word: &str) {
        if self.parentheses > 0 || !self.is_routine() {
            return;
        }
        match word {
            "begin" => self.body += 1,
            "case" if self.body > 0 => self.body += 1,
            "end" => self.body = self.body.saturating_sub(1),
            _ => {}
        }
    }

    fn is_routine(&self) -> bool {
        let kind = |at: usize| {
            matches!(
                self.identifiers.get(at).map(String::as_str),
                Some("function" | "procedure")
            )
        };
        let is = |at: usize, word: &str| self.identifiers.get(at).is_some_and(|found| found == word);
        is(0, "create") && (kind(1) || (is(1, "or") && is(2, "replace") && kind(3)))
    }

    fn judge(&self) -> Result<(), ScriptError> {
        let word = |at: usize| self.words.get(at).map_or("", String::as_str);
        let line = self.line;
        if self.rules.in_transaction {
            let ends = matches!(word(0), "begin" | "commit" | "end" | "rollback" | "abort" | "start")
                || (word(0), word(1)) == ("prepare", "transaction");
            if ends {
                return Err(ScriptError::Transaction {
                    line,
                    word: word(0).to_uppercase(),
                });
            }
        }
        let is_user = word(1) == "user" && !matches!(word(2), "" | "mapping");
        if matches!(word(1), "database" | "role" | "group" | "tablespace" | "system") || is_user {
            self.refuse_acts()?;
        }
        if self.words.iter().any(|word| word == "standard_conforming_strings") && word(0) == "set" {
            let value = self.words.last().map_or("", String::as_str);
            if matches!(value, "off" | "false" | "no" | "0") {
                return Err(ScriptError::Strings { line });
            }
        }
        Ok(())
    }

    fn refuse_acts(&self) -> Result<(), ScriptError> {
        let word = |at: usize| self.words.get(at).map_or("", String::as_str);
        if !matches!(word(0), "create" | "alter" | "drop") {
            return Ok(());
        }
        Err(ScriptError::Server {
            line: self.line,
            statement: format!("{} {}", word(0), word(1)).to_uppercase(),
        })
    }

    pub(super) fn end_statement(&mut self) -> Result<(), ScriptError> {
        // The name of the user is in quotes, and no word.
        if self.words.len() == 2 && self.words[1] == "user" {
            self.refuse_acts()?;
        }
        let copy = self.copy_stdin && self.words.first().is_some_and(|word| word == "copy");
        self.words.clear();
        self.identifiers.clear();
        self.copy_from = false;
        self.copy_stdin = false;
        if copy {
            self.state = State::CopyLine;
        }
        Ok(())
    }
}
