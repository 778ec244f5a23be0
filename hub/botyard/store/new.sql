-- Generated from the migrations by `make gen`. A new database is made by this; the migrations, one after
-- the other, would take half a second.
CREATE TABLE "tortoise_migrations" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "app" VARCHAR(255) NOT NULL,
    "name" VARCHAR(255) NOT NULL,
    "applied_at" TIMESTAMP NOT NULL,
    CONSTRAINT "uid_tortoise_mi_app_3803a5" UNIQUE ("app", "name")
);
CREATE TABLE "event" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "ts" BIGINT NOT NULL,
    "robot" VARCHAR(64),
    "actor" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "severity" VARCHAR(16) NOT NULL,
    "message" TEXT,
    "data" TEXT NOT NULL,
    "cause" TEXT,
    "epoch" VARCHAR(64),
    "seq" BIGINT
);
CREATE INDEX "event_ts" ON "event" ("ts");
CREATE INDEX "event_robot_ts" ON "event" ("robot", "ts");
CREATE TABLE "mark" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "session" VARCHAR(32) NOT NULL,
    "n" BIGINT NOT NULL,
    "answer" BLOB NOT NULL
);
CREATE TABLE "position" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "robot" VARCHAR(64) NOT NULL,
    "epoch" VARCHAR(64) NOT NULL,
    "seq" BIGINT NOT NULL,
    "beyond" TEXT NOT NULL,
    CONSTRAINT "uid_position_robot_7d592d" UNIQUE ("robot", "epoch")
);
CREATE TABLE "quarantine" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "received" BIGINT NOT NULL,
    "robot" TEXT,
    "topic" TEXT,
    "reason" VARCHAR(64) NOT NULL,
    "detail" TEXT NOT NULL,
    "size" BIGINT NOT NULL,
    "payload" TEXT NOT NULL
);
CREATE INDEX "quarantine_robot" ON "quarantine" ("robot");
CREATE TABLE "report" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "ts" BIGINT NOT NULL,
    "robot" VARCHAR(64) NOT NULL,
    "command" TEXT NOT NULL,
    "status" VARCHAR(16) NOT NULL,
    "body" TEXT NOT NULL,
    "epoch" VARCHAR(64) NOT NULL,
    "seq" BIGINT NOT NULL
);
CREATE INDEX "report_robot_ts" ON "report" ("robot", "ts");
CREATE INDEX "report_command" ON "report" ("command");
CREATE TABLE "robot" (
    "id" VARCHAR(64) NOT NULL  PRIMARY KEY,
    "created" BIGINT NOT NULL,
    "name" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "group" TEXT,
    "tags" TEXT NOT NULL,
    "notes" TEXT NOT NULL,
    "accepted" INT NOT NULL
, "retired" BIGINT);
CREATE TABLE "robot_state" (
    "robot" VARCHAR(64) NOT NULL  PRIMARY KEY,
    "ts" BIGINT NOT NULL,
    "body" TEXT NOT NULL
);
CREATE TABLE "series" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "robot" VARCHAR(64) NOT NULL,
    "channel" VARCHAR(128) NOT NULL,
    "type" VARCHAR(16) NOT NULL,
    "unit" TEXT, "last_ts" BIGINT NOT NULL, "last_value" TEXT NOT NULL,
    CONSTRAINT "uid_series_robot_f8005a" UNIQUE ("robot", "channel")
);
CREATE TABLE "block" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "shard" SMALLINT NOT NULL,
    "start" BIGINT NOT NULL,
    "end" BIGINT NOT NULL,
    "messages" INT NOT NULL,
    "data" BLOB NOT NULL
);
CREATE INDEX "block_shard" ON "block" ("shard");
CREATE TABLE "chunk" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "robot" VARCHAR(64) NOT NULL,
    "start" BIGINT NOT NULL,
    "end" BIGINT NOT NULL,
    "rows" INT NOT NULL,
    "samples" INT NOT NULL,
    "small" INT NOT NULL,
    "channels" TEXT NOT NULL,
    "data" BLOB NOT NULL
);
CREATE INDEX "chunk_robot_start" ON "chunk" ("robot", "start", "end");
CREATE INDEX "chunk_small" ON "chunk" ("small", "robot");
CREATE TABLE "progress" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "data" TEXT NOT NULL
);
CREATE TABLE "rollup" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "robot" VARCHAR(64) NOT NULL,
    "width" BIGINT NOT NULL,
    "start" BIGINT NOT NULL,
    "buckets" INT NOT NULL,
    "part" INT NOT NULL,
    "data" BLOB NOT NULL
);
CREATE INDEX "rollup_robot_start" ON "rollup" ("robot", "width", "start");
CREATE INDEX "rollup_part" ON "rollup" ("part", "robot");
CREATE TABLE "size" (
    "ts" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "bytes" BIGINT NOT NULL
);
CREATE TABLE "total" (
    "name" VARCHAR(32) NOT NULL  PRIMARY KEY,
    "count" BIGINT NOT NULL,
    "bytes" BIGINT NOT NULL
);
CREATE INDEX "chunk_end" ON "chunk" ("end", "start");
CREATE INDEX "quarantine_received" ON "quarantine" ("received");
CREATE INDEX "report_ts" ON "report" ("ts");
CREATE INDEX "rollup_width_start" ON "rollup" ("width", "start");
CREATE TABLE "command" (
    "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    "command" VARCHAR(64) NOT NULL UNIQUE,
    "robot" VARCHAR(64) NOT NULL,
    "name" TEXT NOT NULL,
    "args" TEXT NOT NULL,
    "created" BIGINT NOT NULL,
    "expires" BIGINT NOT NULL,
    "actor" TEXT NOT NULL,
    "status" VARCHAR(16) NOT NULL,
    "changed" BIGINT NOT NULL,
    "reason" TEXT,
    "progress" REAL,
    "sent" BIGINT,
    "answered" BIGINT,
    "late" INT NOT NULL
);
CREATE INDEX "command_robot" ON "command" ("robot", "id");
CREATE INDEX "command_status" ON "command" ("status");
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0001_initial', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0002_weekly_samples', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0003_retired', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0004_columns', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0005_totals', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
INSERT INTO tortoise_migrations (app, name, applied_at)
    VALUES ('store', '0006_commands', strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00');
