//! The fields of the messages that are read, by the numbers of Kubernetes' API (v1.36).

use super::Type::{BytesMap, Choice, Count, Flag, Ignored, Number, NumberOrText, Text, TextMap, Time};
use super::{Field, Message, Type};

const fn one(number: u64, name: &'static str, of_type: Type) -> Field {
    (number, name, of_type, false)
}

const fn many(number: u64, name: &'static str, of_type: Type) -> Field {
    (number, name, of_type, true)
}

const fn nested(message: &'static Message) -> Type {
    Type::Message(message)
}

/// The message of a kind.
pub(super) fn find(version: &str, kind: &str) -> Option<&'static Message> {
    match (version, kind) {
        ("autoscaling/v1", "HorizontalPodAutoscaler") => Some(&AUTOSCALER_1),
        ("autoscaling/v2", "HorizontalPodAutoscaler") => Some(&AUTOSCALER_2),
        _ => KINDS.iter().find(|message| message.name == kind).copied(),
    }
}

static KINDS: &[&Message] = &[
    &CLUSTER_ROLE,
    &CLUSTER_ROLE_BINDING,
    &CONFIG_MAP,
    &CRON_JOB,
    &DELETE_OPTIONS,
    &DEPLOYMENT,
    &DISRUPTION_BUDGET,
    &JOB,
    &NAMESPACE,
    &REVIEW,
    &ROLE,
    &ROLE_BINDING,
    &SECRET,
    &SERVICE,
    &SERVICE_ACCOUNT,
];

const METADATA: Field = one(1, "metadata", nested(&OBJECT_META));
const STATUS: Field = one(3, "status", Ignored);

static OBJECT_META: Message = Message {
    name: "ObjectMeta",
    fields: &[
        one(1, "name", Text),
        one(2, "generateName", Text),
        one(3, "namespace", Text),
        one(5, "uid", Text),
        one(6, "resourceVersion", Text),
        one(7, "generation", Number),
        one(8, "creationTimestamp", Time),
        one(11, "labels", TextMap),
        one(12, "annotations", TextMap),
        many(13, "ownerReferences", nested(&OWNER_REFERENCE)),
        many(14, "finalizers", Text),
    ],
};

static OWNER_REFERENCE: Message = Message {
    name: "OwnerReference",
    fields: &[
        one(5, "apiVersion", Text),
        one(1, "kind", Text),
        one(3, "name", Text),
        one(4, "uid", Text),
        one(6, "controller", Choice),
        one(7, "blockOwnerDeletion", Choice),
    ],
};

static DELETE_OPTIONS: Message = Message {
    name: "DeleteOptions",
    fields: &[
        one(1, "gracePeriodSeconds", Count),
        one(2, "preconditions", nested(&PRECONDITIONS)),
        one(3, "orphanDependents", Choice),
        one(4, "propagationPolicy", Text),
        many(5, "dryRun", Text),
    ],
};

static PRECONDITIONS: Message = Message {
    name: "Preconditions",
    fields: &[one(1, "uid", Text), one(2, "resourceVersion", Text)],
};

static NAMESPACE: Message = Message {
    name: "Namespace",
    fields: &[METADATA, one(2, "spec", Ignored), STATUS],
};

static CONFIG_MAP: Message = Message {
    name: "ConfigMap",
    fields: &[
        METADATA,
        one(2, "data", TextMap),
        one(3, "binaryData", BytesMap),
        one(4, "immutable", Choice),
    ],
};

static SECRET: Message = Message {
    name: "Secret",
    fields: &[
        METADATA,
        one(2, "data", BytesMap),
        one(3, "type", Text),
        one(4, "stringData", TextMap),
        one(5, "immutable", Choice),
    ],
};

static SERVICE_ACCOUNT: Message = Message {
    name: "ServiceAccount",
    fields: &[METADATA, one(4, "automountServiceAccountToken", Choice)],
};

static REVIEW: Message = Message {
    name: "SelfSubjectAccessReview",
    fields: &[METADATA, one(2, "spec", nested(&REVIEW_SPEC)), STATUS],
};

static REVIEW_SPEC: Message = Message {
    name: "SelfSubjectAccessReviewSpec",
    fields: &[
        one(1, "resourceAttributes", nested(&RESOURCE_ATTRIBUTES)),
        one(2, "nonResourceAttributes", nested(&PATH_ATTRIBUTES)),
    ],
};

static RESOURCE_ATTRIBUTES: Message = Message {
    name: "ResourceAttributes",
    fields: &[
        one(1, "namespace", Text),
        one(2, "verb", Text),
        one(3, "group", Text),
        one(4, "version", Text),
        one(5, "resource", Text),
        one(6, "subresource", Text),
        one(7, "name", Text),
    ],
};

static PATH_ATTRIBUTES: Message = Message {
    name: "NonResourceAttributes",
    fields: &[one(1, "path", Text), one(2, "verb", Text)],
};

static DEPLOYMENT: Message = Message {
    name: "Deployment",
    fields: &[METADATA, one(2, "spec", nested(&DEPLOYMENT_SPEC)), STATUS],
};

static DEPLOYMENT_SPEC: Message = Message {
    name: "DeploymentSpec",
    fields: &[
        one(1, "replicas", Count),
        one(2, "selector", nested(&LABEL_SELECTOR)),
        one(3, "template", nested(&POD_TEMPLATE)),
        one(4, "strategy", nested(&STRATEGY)),
        one(5, "minReadySeconds", Number),
        one(6, "revisionHistoryLimit", Count),
        one(7, "paused", Flag),
        one(9, "progressDeadlineSeconds", Count),
    ],
};

static STRATEGY: Message = Message {
    name: "DeploymentStrategy",
    fields: &[one(1, "type", Text)],
};

static LABEL_SELECTOR: Message = Message {
    name: "LabelSelector",
    fields: &[one(1, "matchLabels", TextMap)],
};

static JOB: Message = Message {
    name: "Job",
    fields: &[METADATA, one(2, "spec", nested(&JOB_SPEC)), STATUS],
};

static JOB_SPEC: Message = Message {
    name: "JobSpec",
    fields: &[
        one(1, "parallelism", Count),
        one(2, "completions", Count),
        one(6, "template", nested(&POD_TEMPLATE)),
        one(7, "backoffLimit", Count),
        one(10, "suspend", Choice),
    ],
};

static POD_TEMPLATE: Message = Message {
    name: "PodTemplateSpec",
    fields: &[METADATA, one(2, "spec", nested(&POD_SPEC))],
};

static POD_SPEC: Message = Message {
    name: "PodSpec",
    fields: &[
        many(2, "containers", nested(&CONTAINER)),
        one(3, "restartPolicy", Text),
        one(4, "terminationGracePeriodSeconds", Count),
        one(6, "dnsPolicy", Text),
        one(7, "nodeSelector", TextMap),
        one(8, "serviceAccountName", Text),
        one(9, "serviceAccount", Text),
    ],
};

static CONTAINER: Message = Message {
    name: "Container",
    fields: &[
        one(1, "name", Text),
        one(2, "image", Text),
        many(3, "command", Text),
        many(4, "args", Text),
        one(5, "workingDir", Text),
        many(6, "ports", nested(&CONTAINER_PORT)),
        many(7, "env", nested(&VARIABLE)),
        one(14, "imagePullPolicy", Text),
    ],
};

static CONTAINER_PORT: Message = Message {
    name: "ContainerPort",
    fields: &[
        one(1, "name", Text),
        one(2, "hostPort", Number),
        one(3, "containerPort", Number),
        one(4, "protocol", Text),
    ],
};

static VARIABLE: Message = Message {
    name: "EnvVar",
    fields: &[one(1, "name", Text), one(2, "value", Text)],
};

static SERVICE: Message = Message {
    name: "Service",
    fields: &[METADATA, one(2, "spec", nested(&SERVICE_SPEC)), STATUS],
};

static SERVICE_SPEC: Message = Message {
    name: "ServiceSpec",
    fields: &[
        many(1, "ports", nested(&SERVICE_PORT)),
        one(2, "selector", TextMap),
        one(3, "clusterIP", Text),
        one(4, "type", Text),
        one(7, "sessionAffinity", Text),
        one(10, "externalName", Text),
    ],
};

static SERVICE_PORT: Message = Message {
    name: "ServicePort",
    fields: &[
        one(1, "name", Text),
        one(2, "protocol", Text),
        one(3, "port", Number),
        one(4, "targetPort", NumberOrText),
        one(5, "nodePort", Number),
    ],
};

const RULES: Field = many(2, "rules", nested(&RULE));
static ROLE: Message = Message {
    name: "Role",
    fields: &[METADATA, RULES],
};
static CLUSTER_ROLE: Message = Message {
    name: "ClusterRole",
    fields: &[METADATA, RULES],
};

static RULE: Message = Message {
    name: "PolicyRule",
    fields: &[
        many(1, "verbs", Text),
        many(2, "apiGroups", Text),
        many(3, "resources", Text),
        many(4, "resourceNames", Text),
        many(5, "nonResourceURLs", Text),
    ],
};

const BINDING: &[Field] = &[
    METADATA,
    many(2, "subjects", nested(&SUBJECT)),
    one(3, "roleRef", nested(&ROLE_REFERENCE)),
];
static ROLE_BINDING: Message = Message {
    name: "RoleBinding",
    fields: BINDING,
};
static CLUSTER_ROLE_BINDING: Message = Message {
    name: "ClusterRoleBinding",
    fields: BINDING,
};

static SUBJECT: Message = Message {
    name: "Subject",
    fields: &[
        one(1, "kind", Text),
        one(2, "apiGroup", Text),
        one(3, "name", Text),
        one(4, "namespace", Text),
    ],
};

static ROLE_REFERENCE: Message = Message {
    name: "RoleRef",
    fields: &[one(1, "apiGroup", Text), one(2, "kind", Text), one(3, "name", Text)],
};

static CRON_JOB: Message = Message {
    name: "CronJob",
    fields: &[METADATA, one(2, "spec", nested(&CRON_JOB_SPEC)), STATUS],
};

static CRON_JOB_SPEC: Message = Message {
    name: "CronJobSpec",
    fields: &[
        one(1, "schedule", Text),
        one(3, "concurrencyPolicy", Text),
        one(4, "suspend", Choice),
        one(5, "jobTemplate", nested(&JOB_TEMPLATE)),
        one(6, "successfulJobsHistoryLimit", Count),
        one(7, "failedJobsHistoryLimit", Count),
        one(8, "timeZone", Text),
    ],
};

static JOB_TEMPLATE: Message = Message {
    name: "JobTemplateSpec",
    fields: &[METADATA, one(2, "spec", nested(&JOB_SPEC))],
};

static DISRUPTION_BUDGET: Message = Message {
    name: "PodDisruptionBudget",
    fields: &[METADATA, one(2, "spec", nested(&DISRUPTION_BUDGET_SPEC)), STATUS],
};

static DISRUPTION_BUDGET_SPEC: Message = Message {
    name: "PodDisruptionBudgetSpec",
    fields: &[
        one(1, "minAvailable", NumberOrText),
        one(2, "selector", nested(&LABEL_SELECTOR)),
        one(3, "maxUnavailable", NumberOrText),
    ],
};

static AUTOSCALER_1: Message = Message {
    name: "HorizontalPodAutoscaler",
    fields: &[METADATA, one(2, "spec", nested(&AUTOSCALER_1_SPEC)), STATUS],
};

static AUTOSCALER_1_SPEC: Message = Message {
    name: "HorizontalPodAutoscalerSpec",
    fields: &[
        one(1, "scaleTargetRef", nested(&SCALE_TARGET)),
        one(2, "minReplicas", Count),
        one(3, "maxReplicas", Number),
        one(4, "targetCPUUtilizationPercentage", Count),
    ],
};

static SCALE_TARGET: Message = Message {
    name: "CrossVersionObjectReference",
    fields: &[one(1, "kind", Text), one(2, "name", Text), one(3, "apiVersion", Text)],
};

static AUTOSCALER_2: Message = Message {
    name: "HorizontalPodAutoscaler",
    fields: &[METADATA, one(2, "spec", nested(&AUTOSCALER_2_SPEC)), STATUS],
};

static AUTOSCALER_2_SPEC: Message = Message {
    name: "HorizontalPodAutoscalerSpec",
    fields: &[
        one(1, "scaleTargetRef", nested(&SCALE_TARGET)),
        one(2, "minReplicas", Count),
        one(3, "maxReplicas", Number),
        many(4, "metrics", nested(&METRIC)),
    ],
};

static METRIC: Message = Message {
    name: "MetricSpec",
    fields: &[one(1, "type", Text), one(4, "resource", nested(&RESOURCE_METRIC))],
};

static RESOURCE_METRIC: Message = Message {
    name: "ResourceMetricSource",
    fields: &[one(1, "name", Text), one(2, "target", nested(&METRIC_TARGET))],
};

static METRIC_TARGET: Message = Message {
    name: "MetricTarget",
    fields: &[one(1, "type", Text), one(4, "averageUtilization", Count)],
};
