# A cluster as code. So that this can be tried without an account of any cloud, the cluster is made by kind, through
# `terraform_data`, which is built into Terraform and needs no provider. With a cloud, the two resources below are its
# own (such as aws_eks_cluster and local_sensitive_file, or a module around them); plan.yaml and is-applied stay.

terraform {
  required_version = ">= 1.4"
}

variable "name" {
  type        = string
  description = "Name of the cluster."
}

variable "kubeconfig" {
  type        = string
  description = "Where the way into the cluster is written."
}

resource "terraform_data" "cluster" {
  input = {
    name       = var.name
    kubeconfig = var.kubeconfig
  }

  provisioner "local-exec" {
    command = "kind create cluster --name \"$NAME\" --kubeconfig \"$KUBECONFIG\" --wait 5m"
    environment = {
      NAME       = self.input.name
      KUBECONFIG = self.input.kubeconfig
    }
  }

  provisioner "local-exec" {
    when    = destroy
    command = "kind delete cluster --name \"$NAME\" --kubeconfig \"$KUBECONFIG\""
    environment = {
      NAME       = self.output.name
      KUBECONFIG = self.output.kubeconfig
    }
  }
}

output "kubeconfig" {
  value = terraform_data.cluster.output.kubeconfig
}
