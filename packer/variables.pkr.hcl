variable "stage" {
  type        = string
  description = "staging or production; whose models are baked in, and part of the image's name."
  validation {
    condition     = contains(["staging", "production"], var.stage)
    error_message = "The stage must be staging or production."
  }
}

variable "workflow_slug" {
  type        = string
  description = "The workflow that the image is for; part of its name and tags."
  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.workflow_slug)) && length(var.workflow_slug) <= 32
    error_message = "The workflow slug must be lower case words joined by hyphens, at most 32 characters."
  }
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Where the instance is built; empty: the default VPC. It needs a way out to the internet."
}

variable "instance_type" {
  type        = string
  default     = "g4dn.xlarge"
  description = "With a GPU of the oldest generation that the fleets use: the driver is tried before the snapshot."
}

variable "instance_profile" {
  type        = string
  default     = ""
  description = "Instance profile that may read the models; needed with models_uri only."
}

variable "models_uri" {
  type        = string
  default     = ""
  description = "s3://bucket/prefix of the models to bake in; empty: none."
  validation {
    condition     = var.models_uri == "" || can(regex("^s3://[a-z0-9.-]+(/.*)?$", var.models_uri))
    error_message = "The models' place must begin with s3://, or be empty."
  }
}

variable "volume_gigabytes" {
  type        = number
  default     = 100
  description = "Root volume. The fleets' launch template asks for 100, and a snapshot may not be larger."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "Key of the snapshot; empty: the account's own for EBS."
}

variable "source_revision" {
  type        = string
  default     = "unknown"
  description = "Commit of this repository; a tag of the image."
}
