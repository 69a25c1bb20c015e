# The machine image of a GPU fleet: driver, ComfyUI, the worker beside it, models when given. Built on a GPU instance, so
# that what needs the GPU is tried before the snapshot is taken.

packer {
  required_version = ">= 1.10.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}

locals {
  # versions.sh is the only place where versions stand; its lines are NAME=value. Packer reads it from this folder,
  # wherever it is started; with path.root before the name it would look for packer/packer/versions.sh.
  versions = {
    for line in compact(split("\n", file("versions.sh"))) :
    split("=", line)[0] => trim(split("=", line)[1], "\"")
    if can(regex("^[A-Z][A-Z0-9_]*=", line))
  }

  built = formatdate("YYYYMMDD-hhmmss", timestamp())
  name  = "bp-${var.stage}-${var.workflow_slug}-${local.built}"

  tags = {
    Name            = local.name
    Stage           = var.stage
    WorkflowSlug    = var.workflow_slug
    SourceAmi       = "{{ .SourceAMI }}"
    SourceAmiName   = "{{ .SourceAMIName }}"
    Nvidia          = local.versions["NVIDIA_VERSION"]
    Cuda            = local.versions["CUDA_VERSION"]
    PyTorch         = local.versions["PYTORCH_VERSION"]
    ComfyUI         = local.versions["COMFYUI_VERSION"]
    ComfyUICommit   = local.versions["COMFYUI_COMMIT"]
    CloudWatchAgent = local.versions["CLOUDWATCH_AGENT_VERSION"]
    Revision        = var.source_revision
    Models          = var.models_uri
  }

  # Not below /tmp, which the reboot empties.
  uploaded = "/home/ubuntu/image"
}

source "amazon-ebs" "worker" {
  region               = var.region
  subnet_id            = var.subnet_id
  instance_type        = var.instance_type
  iam_instance_profile = var.instance_profile
  shutdown_behavior    = "terminate"

  source_ami_filter {
    owners      = [local.versions["BASE_OWNER"]]
    most_recent = true
    filters = {
      name                = local.versions["BASE_FILTER"]
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # The building instance and the instances of the image: metadata by session token only, from the machine itself.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"

  # A key for this build alone, and no way in but from where the build runs.
  ssh_username                              = "ubuntu"
  temporary_key_pair_type                   = "ed25519"
  temporary_security_group_source_public_ip = true
  ssh_clear_authorized_keys                 = true

  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_size           = var.volume_gigabytes
    volume_type           = "gp3"
    encrypted             = true
    kms_key_id            = var.kms_key_id
    delete_on_termination = true
  }
  encrypt_boot = true
  kms_key_id   = var.kms_key_id

  ami_name        = local.name
  ami_description = "GPU worker of ${var.workflow_slug}, ${var.stage}"
  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = { Name = "build-${local.name}", Stage = var.stage, WorkflowSlug = var.workflow_slug }
  run_volume_tags = { Name = "build-${local.name}", Stage = var.stage, WorkflowSlug = var.workflow_slug }
}

build {
  sources = ["source.amazon-ebs.worker"]

  provisioner "shell" {
    inline = ["cloud-init status --wait", "mkdir -p ${local.uploaded}"]
  }

  provisioner "file" {
    sources = [
      "${path.root}/versions.sh",
      "${path.root}/scripts",
      "${path.root}/files",
      "${path.root}/aws",
      "${path.root}/comfyui",
      "${path.root}/worker",
    ]
    destination = "${local.uploaded}/"
  }

  provisioner "shell" {
    inline = [
      "sudo bash ${local.uploaded}/scripts/install-base.sh",
      "sudo bash ${local.uploaded}/scripts/install-nvidia-drivers.sh",
    ]
  }

  # The driver is there from the next boot on; until then nvidia-smi fails.
  provisioner "shell" {
    inline            = ["sudo systemctl reboot"]
    expect_disconnect = true
  }

  provisioner "shell" {
    pause_before = "30s"
    inline = [
      "sudo bash ${local.uploaded}/scripts/check-nvidia-drivers.sh",
      "sudo bash ${local.uploaded}/scripts/install-pytorch.sh",
      "sudo bash ${local.uploaded}/scripts/install-comfyui.sh",
      "sudo bash ${local.uploaded}/scripts/install-python-worker.sh",
      "sudo bash ${local.uploaded}/scripts/install-cloudwatch-agent.sh",
    ]
  }

  provisioner "shell" {
    environment_vars = ["MODELS_URI=${var.models_uri}", "AWS_REGION=${var.region}"]
    inline           = ["sudo --preserve-env=MODELS_URI,AWS_REGION bash ${local.uploaded}/scripts/sync-models.sh"]
  }

  # Nothing is snapshotted that has not passed; what is private to the building instance goes last.
  provisioner "shell" {
    inline = [
      "sudo bash ${local.uploaded}/scripts/self-test.sh",
      "sudo bash ${local.uploaded}/scripts/clean-up.sh",
    ]
  }

  post-processor "manifest" {
    output     = "image.json"
    strip_path = true
  }
}
