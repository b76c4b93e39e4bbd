BEGIN TRANSACTION;
CREATE TABLE events (
            window INTEGER NOT NULL REFERENCES windows (id) ON DELETE CASCADE,
            kind TEXT NOT NULL, level TEXT NOT NULL, text TEXT NOT NULL, at TEXT NOT NULL,
            s REAL
        , number INTEGER);
INSERT INTO "events" VALUES(1,'sent','info','said','2026-11-28T23:43:37.703+00:00',0.684,1);
INSERT INTO "events" VALUES(1,'reply','info','said','2026-11-28T23:43:37.703+00:00',0.684,2);
INSERT INTO "events" VALUES(1,'thaw-sent','info','said','2026-11-28T23:43:37.703+00:00',0.684,3);
INSERT INTO "events" VALUES(1,'thawed','info','said','2026-11-28T23:43:37.703+00:00',0.684,4);
INSERT INTO "events" VALUES(1,'outcome','info','said','2026-11-28T23:43:37.703+00:00',0.684,5);
INSERT INTO "events" VALUES(2,'sent','info','said','2026-11-28T23:43:37.741+00:00',0.023,1);
INSERT INTO "events" VALUES(2,'reply','info','said','2026-11-28T23:43:37.741+00:00',0.023,2);
INSERT INTO "events" VALUES(2,'held','info','said','2026-11-28T23:43:37.741+00:00',0.023,3);
INSERT INTO "events" VALUES(3,'sent','info','said','2026-11-28T23:43:37.747+00:00',0.006,1);
INSERT INTO "events" VALUES(3,'reply','info','said','2026-11-28T23:43:37.747+00:00',0.006,2);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE windows (
            id INTEGER PRIMARY KEY, kind TEXT NOT NULL,
            vm TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
            vm_pid INTEGER, vm_ticks INTEGER, agent TEXT, monitor TEXT, socket TEXT,
            request TEXT NOT NULL,
            uid INTEGER NOT NULL, user TEXT NOT NULL, pid INTEGER NOT NULL,
            ticks INTEGER NOT NULL, command TEXT NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL,
            holder_pid INTEGER, holder_ticks INTEGER,
            asked_at TEXT, asked_s REAL, armed_at TEXT, armed_s REAL, sent_at TEXT, sent_s REAL, replied_at TEXT, replied_s REAL, verdict_at TEXT, verdict_s REAL, held_at TEXT, held_s REAL, thaw_sent_at TEXT, thaw_sent_s REAL, thawed_at TEXT, thawed_s REAL, ended_at TEXT, ended_s REAL,
            outcome TEXT, thaw TEXT, cause TEXT, settled INTEGER NOT NULL DEFAULT 0, note TEXT
        , key TEXT, mono REAL, hold_s REAL, rescue TEXT);
INSERT INTO "windows" VALUES(1,'freeze','qemu:db1','qemu','db1',NULL,NULL,'/run/db1.qga',NULL,'65024:2147598:1795909417016515772','{"mounts":[],"strict":false,"first_timeout_s":600.0,"probe_timeout_s":600.0,"probes":5,"hold_s":0.0,"maximum_hold_s":120.0,"thaw_timeout_s":180.0,"bridge_s":0.0}',0,'root',4193999,5,'frostwatch freeze db1','{host}','{boot}',NULL,NULL,'2026-11-28T23:43:37.019+00:00',0.0,'2026-11-28T23:43:37.032+00:00',0.013,'2026-11-28T23:43:37.703+00:00',0.684,'2026-11-28T23:43:37.703+00:00',0.684,NULL,NULL,NULL,NULL,'2026-11-28T23:43:37.703+00:00',0.684,'2026-11-28T23:43:37.703+00:00',0.684,'2026-11-28T23:43:37.703+00:00',0.684,'{"outcome":"verified","refusal":null,"frozen":2,"thawed":2,"certified":true,"settled":true,"cause":null,"seconds":1.0,"coverage":null,"not_covered":[],"evidence":[],"meaning":null,"next":null,"reason":"frozen"}',NULL,NULL,1,NULL,'90d68ade092dc80ea986408d2c06b7be',16390.706354418,NULL,NULL);
INSERT INTO "windows" VALUES(2,'freeze','qemu:gone','qemu','gone',4194000,7,'/run/gone.qga',NULL,'65024:2147043:1795909417716515757','{"mounts":[],"strict":false,"first_timeout_s":600.0,"probe_timeout_s":600.0,"probes":5,"hold_s":0.0,"maximum_hold_s":120.0,"thaw_timeout_s":180.0,"bridge_s":0.0}',0,'root',4193999,5,'frostwatch freeze db1','{host}','{boot}',NULL,NULL,'2026-11-28T23:43:37.718+00:00',0.0,'2026-11-28T23:43:37.718+00:00',0.0,'2026-11-28T23:43:37.741+00:00',0.023,'2026-11-28T23:43:37.741+00:00',0.023,NULL,NULL,'2026-11-28T23:43:37.741+00:00',0.023,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'4c37b8bb11cc0df859f2448b79fc2f43',16391.404695983,NULL,NULL);
INSERT INTO "windows" VALUES(3,'freeze','qemu:nosocket','qemu','nosocket',NULL,NULL,NULL,NULL,NULL,'{"mounts":[],"strict":false,"first_timeout_s":600.0,"probe_timeout_s":600.0,"probes":5,"hold_s":0.0,"maximum_hold_s":120.0,"thaw_timeout_s":180.0,"bridge_s":0.0}',0,'root',4193999,5,'frostwatch freeze db1','{host}','{boot}',NULL,NULL,'2026-11-28T23:43:37.741+00:00',0.0,'2026-11-28T23:43:37.741+00:00',0.0,'2026-11-28T23:43:37.747+00:00',0.006,'2026-11-28T23:43:37.747+00:00',0.006,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'37252c63d6a9d688c417e05008791dd3',16391.427740006,NULL,NULL);
CREATE INDEX windows_of_vm ON windows (vm, id);
CREATE INDEX windows_of_socket ON windows (socket, id);
CREATE INDEX unsettled_windows ON windows (id) WHERE settled = 0;
CREATE INDEX events_of_window ON events (window);
CREATE UNIQUE INDEX windows_of_key ON windows (key);
CREATE INDEX windows_of_process ON windows (vm_pid, vm_ticks);
CREATE UNIQUE INDEX events_of_number ON events (window, number);
COMMIT;