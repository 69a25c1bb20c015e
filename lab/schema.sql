-- The tables of the central database that the control plane shares with the backend (platform contract, section 2).
-- The backend owns them; the lab creates them where a deployment has Laravel's migrations.

CREATE TABLE workflows (
    id          bigint unsigned NOT NULL AUTO_INCREMENT,
    name        varchar(255)    NOT NULL,
    slug        varchar(255)    NOT NULL,
    is_active   tinyint(1)      NOT NULL DEFAULT 1,
    created_at  timestamp       NULL DEFAULT NULL,
    updated_at  timestamp       NULL DEFAULT NULL,
    deleted_at  timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY workflows_slug_unique (slug)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE ai_job_dispatches (
    id                bigint unsigned NOT NULL AUTO_INCREMENT,
    tenant_id         varchar(255)    NOT NULL,
    tenant_job_id     bigint unsigned NOT NULL,
    provider          varchar(50)     NOT NULL DEFAULT 'local',
    workflow_id       bigint unsigned NOT NULL,
    status            varchar(50)     NOT NULL DEFAULT 'queued',
    priority          int             NOT NULL DEFAULT 0,
    attempts          int unsigned    NOT NULL DEFAULT 0,
    worker_id         varchar(255)    NULL DEFAULT NULL,
    lease_token       varchar(64)     NULL DEFAULT NULL,
    lease_expires_at  timestamp       NULL DEFAULT NULL,
    last_error        text            NULL DEFAULT NULL,
    duration_seconds  int unsigned    NULL DEFAULT NULL,
    created_at        timestamp       NULL DEFAULT NULL,
    updated_at        timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY ai_job_dispatches_tenant_id_tenant_job_id_unique (tenant_id, tenant_job_id),
    KEY ai_job_dispatches_tenant_id_index (tenant_id),
    KEY ai_job_dispatches_tenant_job_id_index (tenant_job_id),
    KEY ai_job_dispatches_provider_index (provider),
    KEY ai_job_dispatches_workflow_id_index (workflow_id),
    KEY ai_job_dispatches_status_index (status),
    KEY ai_job_dispatches_priority_index (priority),
    KEY ai_job_dispatches_worker_id_index (worker_id),
    KEY ai_job_dispatches_lease_expires_at_index (lease_expires_at),
    KEY idx_dispatch_poll (workflow_id, status, attempts, priority, created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE comfy_ui_workers (
    id                   bigint unsigned NOT NULL AUTO_INCREMENT,
    worker_id            varchar(255)    NOT NULL,
    token_hash           varchar(64)     NULL DEFAULT NULL,
    display_name         varchar(255)    NULL DEFAULT NULL,
    capabilities         json            NULL DEFAULT NULL,
    max_concurrency      int unsigned    NOT NULL DEFAULT 1,
    current_load         int unsigned    NOT NULL DEFAULT 0,
    last_seen_at         timestamp       NULL DEFAULT NULL,
    last_ip              varchar(45)     NULL DEFAULT NULL,
    registration_source  varchar(20)     NOT NULL DEFAULT 'admin',
    is_draining          tinyint(1)      NOT NULL DEFAULT 0,
    is_approved          tinyint(1)      NOT NULL DEFAULT 0,
    created_at           timestamp       NULL DEFAULT NULL,
    updated_at           timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY comfy_ui_workers_worker_id_unique (worker_id),
    UNIQUE KEY comfy_ui_workers_token_hash_unique (token_hash),
    KEY comfy_ui_workers_last_seen_at_index (last_seen_at),
    KEY comfy_ui_workers_is_draining_index (is_draining),
    KEY comfy_ui_workers_is_approved_index (is_approved)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

-- The reference has no cascade here: whoever deletes a worker row must delete these rows first, and is found out if not.
CREATE TABLE worker_workflows (
    id           bigint unsigned NOT NULL AUTO_INCREMENT,
    worker_id    bigint unsigned NOT NULL,
    workflow_id  bigint unsigned NOT NULL,
    created_at   timestamp       NULL DEFAULT NULL,
    updated_at   timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY worker_workflows_worker_id_workflow_id_unique (worker_id, workflow_id),
    CONSTRAINT worker_workflows_worker_id_foreign FOREIGN KEY (worker_id) REFERENCES comfy_ui_workers (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE worker_audit_logs (
    id                 bigint unsigned NOT NULL AUTO_INCREMENT,
    worker_id          bigint unsigned NULL DEFAULT NULL,
    worker_identifier  varchar(255)    NULL DEFAULT NULL,
    event              varchar(100)    NOT NULL,
    dispatch_id        bigint unsigned NULL DEFAULT NULL,
    ip_address         varchar(45)     NULL DEFAULT NULL,
    metadata           json            NULL DEFAULT NULL,
    created_at         timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id),
    KEY worker_audit_logs_worker_id_index (worker_id),
    KEY worker_audit_logs_event_index (event),
    KEY worker_audit_logs_dispatch_id_index (dispatch_id),
    KEY worker_audit_logs_created_at_index (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE tenants (
    id          varchar(255)    NOT NULL,
    user_id     bigint unsigned NULL DEFAULT NULL,
    db_pool     varchar(255)    NOT NULL DEFAULT 'tenant_pool_1',
    data        json            NULL DEFAULT NULL,
    created_at  timestamp       NULL DEFAULT NULL,
    updated_at  timestamp       NULL DEFAULT NULL,
    PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
