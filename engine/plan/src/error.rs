//! What is wrong with a plan, a targets file or the arguments: each with its place, a stable code and what to do next.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, Severity, SourceCode, SourceSpan};

use crate::code::Code;
use crate::mask;
use crate::span::{Source, line_and_column};

/// As many findings about one file are kept.
const MOST: usize = 500;

/// One finding. Its code is stable: `jm explain CODE` tells more.
#[derive(Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct PlanError(Box<Details>);

#[derive(Clone)]
struct Details {
    code: Code,
    message: String,
    labels: Vec<LabeledSpan>,
    help: Option<String>,
    source: Option<Source>,
    severity: Severity,
}

/// Where a finding is: for editors, CI annotations and machines. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// First line.
    pub line: usize,
    /// First column, in characters.
    pub column: usize,
    /// Last line.
    pub end_line: usize,
    /// One past the last column.
    pub end_column: usize,
    /// What stands at the label, where it says something.
    pub label: Option<String>,
}

impl PlanError {
    /// A file that should be a plan cannot even be read; `why` says so, in lower case.
    pub fn unreadable(why: impl Into<String>) -> Self {
        Self::nowhere(Code::Unreadable, why)
    }

    /// A finding at a place, with an empty label.
    pub(crate) fn at(code: Code, span: SourceSpan, message: impl Into<String>) -> Self {
        let mut error = Self::nowhere(code, message);
        error.0.labels.push(LabeledSpan::new_primary_with_span(None, span));
        error
    }

    /// A finding that has no place in a file.
    pub(crate) fn nowhere(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            code,
            message: message.into(),
            labels: Vec::new(),
            help: None,
            source: None,
            severity: code.severity(),
        }))
    }

    /// Says at the first place what is the matter there.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(first) = self.0.labels.first_mut() {
            first.set_label(Some(label.into()));
        }
        self
    }

    /// Points at another place of the same file.
    pub(crate) fn also(mut self, span: SourceSpan, label: impl Into<String>) -> Self {
        self.0.labels.push(LabeledSpan::new_with_span(Some(label.into()), span));
        self
    }

    /// Says what to do next.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The same, where there is something to say.
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Says before what is wrong which variables the value came from.
    pub(crate) fn because_of(mut self, variables: &str) -> Self {
        self.0.code = Code::MalformedVariable;
        self.0.message = format!("{variables}: {}", self.0.message);
        self
    }

    /// The same, but it does not stop the plan.
    pub(crate) fn into_warning(mut self) -> Self {
        self.0.severity = Severity::Warning;
        self
    }

    /// Ties it to the file that its places are in.
    pub(crate) fn in_source(mut self, source: &Source) -> Self {
        self.0.source.get_or_insert_with(|| source.clone());
        self
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.0.code == code
    }

    /// Whether it points at a secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.is(Code::SecretInPlan) || self.is(Code::SecretInTargets)
    }

    /// What it points at, in bytes, and the file that it is in.
    pub(crate) fn spans(&self) -> Option<(&Source, impl Iterator<Item = Range<usize>>)> {
        let range = |label: &LabeledSpan| label.offset()..label.offset() + label.len();
        Some((self.0.source.as_ref()?, self.0.labels.iter().map(range)))
    }

    /// The file that its places are in.
    pub(crate) fn source_mut(&mut self) -> Option<&mut Source> {
        self.0.source.as_mut()
    }

    /// The code, such as `jm::plan::unknown_step`.
    pub fn code(&self) -> &'static str {
        self.0.code.name()
    }

    /// [`Severity::Error`]; [`Severity::Warning`], which fails only under `--strict`; or [`Severity::Advice`], which
    /// never does.
    pub fn severity(&self) -> Severity {
        self.0.severity
    }

    /// What is wrong, on one line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Where it is: the first place and those that belong to it. Empty for a finding that is in no file.
    pub fn places(&self) -> Vec<Place> {
        let Some(source) = &self.0.source else {
            return Vec::new();
        };
        self.0.labels.iter().map(|label| place(source, label)).collect()
    }

    /// The first of [`Self::places`].
    pub fn place(&self) -> Option<Place> {
        Some(place(self.0.source.as_ref()?, self.0.labels.first()?))
    }

    /// Where it begins in the file.
    pub(crate) fn offset(&self) -> Option<usize> {
        self.0.labels.first().map(LabeledSpan::offset)
    }

    /// Whether something is said to be missing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.0.code, Code::MissingField | Code::NotThisKind)
    }
}

fn place(source: &Source, label: &LabeledSpan) -> Place {
    let text = source.inner();
    let (line, column) = line_and_column(text, label.offset());
    let (end_line, end_column) = line_and_column(text, label.offset() + label.len());
    Place {
        file: source.name().to_owned(),
        line,
        column,
        end_line,
        end_column,
        label: label.label().map(str::to_owned),
    }
}

impl fmt::Debug for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())?;
        if let Some(place) = self.place() {
            write!(f, " ({}:{}:{})", place.file, place.line, place.column)?;
        }
        Ok(())
    }
}

impl Diagnostic for PlanError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(PlanError::code(self)))
    }
    fn severity(&self) -> Option<Severity> {
        Some(PlanError::severity(self))
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help_text().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source.as_deref().map(|source| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.0.labels.is_empty()).then(|| Box::new(self.0.labels.iter().cloned()) as Box<_>)
    }
}

/// Everything that is wrong, in the order of the file. Warnings that were found on the way are among them.
#[derive(Clone, thiserror::Error)]
#[error("{}", self.headline())]
pub struct PlanErrors {
    name: String,
    errors: Vec<PlanError>,
}

impl PlanErrors {
    pub(crate) fn new(name: impl Into<String>, mut errors: Vec<PlanError>) -> Self {
        sort(&mut errors);
        mask::secrets(&mut errors);
        Self {
            name: name.into(),
            errors,
        }
    }

    /// The file that was read.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The findings: errors, and the warnings that were found besides.
    pub fn errors(&self) -> &[PlanError] {
        &self.errors
    }

    /// The findings themselves.
    pub fn into_errors(self) -> Vec<PlanError> {
        self.errors
    }

    fn headline(&self) -> String {
        let count = self.errors.iter().filter(|error| is_error(error)).count();
        let plural = if count == 1 { "" } else { "s" };
        format!("`{}` has {count} error{plural}", self.name)
    }
}

/// Whether it stops the plan, rather than being a warning or an advice.
pub(crate) fn is_error(error: &PlanError) -> bool {
    error.severity() == Severity::Error
}

/// In the order of the file, errors and warnings as they come.
pub(crate) fn sort(errors: &mut [PlanError]) {
    errors.sort_by_cached_key(|error| {
        let file = error.0.source.as_ref().map(|source| source.name().to_owned());
        (file, error.offset().unwrap_or(usize::MAX), error.code())
    });
}

impl fmt::Debug for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.errors).finish()
    }
}

impl Diagnostic for PlanErrors {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("jm::plan::invalid"))
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// Collects findings about one file.
#[derive(Debug)]
pub(crate) struct Problems {
    source: Source,
    found: Vec<PlanError>,
    /// Whether there were more than are kept.
    cut: bool,
}

impl Problems {
    pub(crate) fn new(source: &Source) -> Self {
        Self {
            source: source.clone(),
            found: Vec::new(),
            cut: false,
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// A secret is always kept: the pictures of all other findings are shown without it.
    pub(crate) fn push(&mut self, error: PlanError) {
        if self.found.len() < MOST || error.is_secret() {
            self.found.push(error.in_source(&self.source));
        } else if !self.cut {
            self.cut = true;
            let message = format!("more than {MOST} findings: the others are not shown");
            self.found.push(PlanError::nowhere(Code::TooMany, message));
        }
    }

    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = PlanError>) {
        errors.into_iter().for_each(|error| self.push(error));
    }

    /// Forgets what is said about the part of a file that could not be read: from `torn` on, and what is missing. A secret
    /// is one there, too.
    pub(crate) fn forget_after(&mut self, torn: usize, yaml: usize) {
        let mut number = 0;
        self.found.retain(|error| {
            number += 1;
            number <= yaml
                || error.is_secret()
                || (!error.is_missing() && error.offset().is_some_and(|offset| offset < torn))
        });
    }

    pub(crate) fn into_found(self) -> Vec<PlanError> {
        self.found
    }
}
