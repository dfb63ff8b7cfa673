//! Which images ran, and which are to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KubernetesIndex, is_written};

/// The image that a container of a workload ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedImage {
    /// Namespace of the workload.
    pub namespace: String,
    /// Kind and name of the workload, such as `Deployment/web`.
    pub workload: String,
    /// The container.
    pub container: String,
    /// The image as the workload names it.
    pub image: String,
    /// The digest that ran, such as `sha256:…`; none where no pod told it, or its pods ran several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether the workload had no pods, so that nothing of it ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

/// An image that somebody names for a container, in the place of the one that ran: where that one is not known, cannot be had
/// any more, or is what broke.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChosenImage {
    /// Of which workload, such as `deployment/web`, in whatever namespace.
    pub workload: String,
    /// Which of its containers.
    pub container: String,
    /// The image, by its digest: `ghcr.io/your-org/backend@sha256:…`.
    pub image: String,
}

/// Whether a tag is one that nobody moves, as far as can be told: `latest`, which is also what no tag means, is moved by
/// everybody.
fn has_lasting_tag(image: &str) -> bool {
    // A colon before the last slash is that of a port.
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':'));
    tag.is_some_and(|(_, tag)| tag != "latest")
}

impl KubernetesIndex {
    /// The containers of which nobody knows which image they ran, in words; but for objects, such as `deployment/broken`, of
    /// which nobody asks, and for containers that get another one.
    pub fn unknown_images(&self, except: &[String], chosen: &[ChosenImage]) -> Vec<String> {
        let gets = |image: &RecordedImage| {
            let mut chosen = chosen.iter();
            chosen.any(|one| image.is_of(&one.workload) && image.container == one.container)
        };
        let asked = |image: &&RecordedImage| !except.iter().any(|object| image.is_of(object)) && !gets(image);
        let unknown = self.images.iter().filter(asked).filter(|image| image.is_unknown());
        unknown.map(ToString::to_string).collect()
    }

    /// Those of them of which nothing ran, and whose tag goes on naming the same image, in words. A cluster would have taken
    /// them by that tag, too; what it names by then nobody has seen.
    pub fn untried_images(&self) -> Vec<String> {
        let untried = self.images.iter().filter(|image| image.is_untried());
        untried.map(ToString::to_string).collect()
    }

    /// Those of them that ran, or whose tag is moved, in words: with these the export lacks something.
    pub fn lost_images(&self) -> Vec<String> {
        let lost = self
            .images
            .iter()
            .filter(|image| image.is_unknown() && !image.is_untried());
        lost.map(ToString::to_string).collect()
    }
}

impl RecordedImage {
    /// Whether it is of what is written `deployment/web`.
    fn is_of(&self, object: &str) -> bool {
        let workload = self.workload.split_once('/');
        workload.is_some_and(|(kind, name)| is_written(object, kind, name))
    }

    /// Whether nobody knows which image it is: no digest tells.
    fn is_unknown(&self) -> bool {
        self.digest.is_none() && !self.image.contains('@')
    }

    fn is_untried(&self) -> bool {
        self.is_unknown() && self.idle && has_lasting_tag(&self.image)
    }
}

/// The container, and how its image is written.
impl fmt::Display for RecordedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            workload,
            container,
            image,
            ..
        } = self;
        write!(
            f,
            "container `{container}` of {workload} in namespace `{namespace}` (`{image}`)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(workload: &str, image: &str, idle: bool) -> RecordedImage {
        RecordedImage {
            namespace: "app".to_owned(),
            workload: workload.to_owned(),
            container: "main".to_owned(),
            image: image.to_owned(),
            digest: None,
            idle,
        }
    }

    #[test]
    fn what_somebody_names_has_not_to_be_known() {
        let index = KubernetesIndex {
            images: vec![image("Deployment/web", "web:1", false)],
            ..KubernetesIndex::default()
        };
        let chosen = |workload: &str, container: &str| ChosenImage {
            workload: workload.to_owned(),
            container: container.to_owned(),
            image: "web@sha256:aa".to_owned(),
        };
        for (chosen, left) in [
            (chosen("deployment/web", "main"), 0),
            (chosen("deployment/web", "side"), 1),
            (chosen("statefulset/web", "main"), 1),
        ] {
            let unknown = index.unknown_images(&[], std::slice::from_ref(&chosen));
            assert_eq!(unknown.len(), left, "{chosen:?}");
        }
    }

    fn unknown(images: Vec<RecordedImage>, except: &[&str]) -> usize {
        let except: Vec<String> = except.iter().map(|&object| object.to_owned()).collect();
        let index = KubernetesIndex {
            images,
            ..KubernetesIndex::default()
        };
        index.unknown_images(&except, &[]).len()
    }

    #[test]
    fn only_a_digest_tells_an_image_and_what_never_ran_is_not_lost_by_a_tag_that_nobody_moves() {
        for (name, is_idle, is_unknown, is_lost) in [
            ("web:1.4.2", true, true, false),
            ("localhost:5000/web:1", true, true, false),
            ("web:latest", true, true, true),
            ("web", true, true, true),
            ("localhost:5000/web", true, true, true),
            ("web@sha256:aa", true, false, false),
            ("web:1.4.2", false, true, true),
        ] {
            let index = KubernetesIndex {
                images: vec![image("Deployment/web", name, is_idle)],
                ..KubernetesIndex::default()
            };
            let counts = [
                index.unknown_images(&[], &[]),
                index.lost_images(),
                index.untried_images(),
            ]
            .map(|told| told.len());
            let [is_unknown, is_lost] = [is_unknown, is_lost].map(usize::from);
            assert_eq!(counts, [is_unknown, is_lost, is_unknown - is_lost], "{name}");
        }
    }

    #[test]
    fn of_what_is_not_brought_back_nobody_asks_what_it_ran() {
        let images = || {
            vec![
                image("Deployment/web", "web:1", false),
                image("StatefulSet/web", "web:1", false),
            ]
        };
        assert_eq!(unknown(images(), &[]), 2);
        assert_eq!(unknown(images(), &["deployment/web"]), 1);
        assert_eq!(unknown(images(), &["deployment/other", "web"]), 2);
    }
}
