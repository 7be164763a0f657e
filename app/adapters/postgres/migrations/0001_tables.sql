-- The two logs, the tree that the files log folds to, and content. docs/reference/store.md explains each table.
-- A `project` column is projects.id; a time is microseconds (_us) or nanoseconds (_ns) since the epoch.

create table projects (
    id integer generated always as identity primary key,
    project text not null unique
);

-- One row a log. Whoever appends holds the advisory lock (project, log) and replaces it.
create table log_heads (
    project integer not null,
    log text not null,
    position bigint not null,
    hash bytea not null,
    recorded_at_us bigint not null,
    primary key (project, log)
) with (fillfactor = 20);

-- Incarnation numbers are given out once and never again; last_sequence and last_inode move with the log.
create table incarnations (
    project integer not null,
    incarnation bigint not null,
    origin text not null,
    origin_name text not null,
    request_id text not null,
    registered_at timestamptz not null default clock_timestamp(),
    last_sequence bigint not null default 0,
    last_inode bigint not null default 0,
    primary key (project, incarnation),
    unique (project, request_id)
) with (fillfactor = 20);

-- The files log. payload is the shipped request, verbatim (null once redacted; digest stays); outcome null is 'applied'.
create table file_events (
    project integer not null,
    position bigint not null,
    incarnation bigint not null,
    sequence bigint not null,
    recorded_at_us bigint not null,
    at_ns bigint not null,
    inode bigint not null,
    kind text not null,
    agent text not null,
    session text not null,
    tool_call text not null,
    decision text not null,
    task_id text not null,
    path bytea not null,
    outcome bytea,
    payload bytea,
    digest bytea not null,
    hash bytea not null,
    primary key (project, position),
    unique (project, incarnation, sequence)
);
-- an index entry is bounded, a path is not
create index file_events_path on file_events (project, substr(path, 1, 200), position);
create index file_events_agent on file_events (project, agent, position);
create index file_events_at on file_events using brin (at_ns) with (pages_per_range = 16, autosummarize = on);

-- The current tree. node is the msgpack array of app.core.tree.Node; since is the position that made the row so.
create table inodes (
    project integer not null,
    inode bigint not null,
    since bigint not null,
    node bytea not null,
    primary key (project, inode)
) with (fillfactor = 70);
create table dentries (
    project integer not null,
    parent bigint not null,
    name bytea not null,
    inode bigint not null,
    since bigint not null,
    primary key (project, parent, name)
);
create index dentries_inode on dentries (project, inode);
create table aliases (
    project integer not null,
    inode bigint not null,
    target bigint not null,
    since bigint not null,
    primary key (project, inode)
);

-- What the tree was: a row held at the positions since <= N < until.
create table inodes_past (
    project integer not null,
    inode bigint not null,
    since bigint not null,
    until bigint not null,
    node bytea not null
);
create index inodes_past_since on inodes_past (project, inode, since);
create table dentries_past (
    project integer not null,
    parent bigint not null,
    name bytea not null,
    inode bigint not null,
    since bigint not null,
    until bigint not null
);
create index dentries_past_since on dentries_past (project, parent, name, since);

-- Which chunk stands at which index of a file: current, and what it was. A hole has no row.
create table content_chunks (
    project integer not null,
    inode bigint not null,
    index bigint not null,
    hash bytea not null,
    size_bytes integer not null,
    since bigint not null,
    primary key (project, inode, index)
);
create table content_chunks_past (
    project integer not null,
    inode bigint not null,
    index bigint not null,
    hash bytea not null,
    size_bytes integer not null,
    since bigint not null,
    until bigint not null
);
create index content_chunks_past_since on content_chunks_past (project, inode, since);

-- Content, keyed by project and keyed BLAKE3. data is null once redacted.
create table chunks (
    project integer not null,
    hash bytea not null,
    size_bytes integer not null,
    encoding text not null,
    data bytea,
    primary key (project, hash)
);
alter table chunks alter column data set storage external;

-- The decisions log: a row holds up to 256 records, each with its salt; the arrays are for finding it.
create table decision_events (
    project integer not null,
    position bigint not null,
    spool text not null,
    first_sequence bigint not null,
    record_count integer not null,
    recorded_at_us bigint not null,
    first_at_ns bigint not null,
    last_at_ns bigint not null,
    task_id text not null,
    agents text[] not null,
    verdicts text[] not null,
    encoding text not null,
    payload bytea not null,
    digest bytea not null,
    hash bytea not null,
    primary key (project, position),
    unique (project, spool, first_sequence)
);
alter table decision_events alter column payload set storage external;
create index decision_events_agents on decision_events using gin (agents);
create index decision_events_at on decision_events (project, last_at_ns);
create table spools (
    project integer not null,
    spool text not null,
    last_sequence bigint not null,
    primary key (project, spool)
) with (fillfactor = 20);

-- Nothing in a log is ever updated or deleted; redaction will be its own function of the owner.
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'events are never changed or removed' using errcode = 'insufficient_privilege';
end $$;
create trigger file_events_kept before update or delete or truncate on file_events
    for each statement execute function refuse_change();
create trigger decision_events_kept before update or delete or truncate on decision_events
    for each statement execute function refuse_change();
