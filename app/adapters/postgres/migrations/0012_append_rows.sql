-- An append is one row: its events stand in arrays, as they were sent, and are read through the view file_events. A row an
-- event was the largest part of what Postgres did for an append.
-- What an append changes in the tree waits, packed as it came, until some hundred events' changes are put into the tables at once.
-- The tree of the log's end is that of the tables with what waits over it (views waiting_nodes, waiting_names, waiting_aliases). Whether
-- others have changed what a batch was folded on is told by the keys that each append says it touched.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early', 'open_files') loop
        execute 'drop routine ' || old;
    end loop;
end $$;

drop view if exists heads;
drop trigger file_events_kept on file_events;
alter table file_events rename to file_events_before;
alter index file_events_pkey rename to file_events_before_pkey;

-- Events [position, position + events) of the files log, which an incarnation sent together from `sequence` on.
-- texts: the task, then five each context: kind, agent, session, tool call, decision; contexts: where in texts each event's begin.
-- An outcome of '' is `applied`; outcomes null: all are. A payload is the shipped request, verbatim (null once redacted; its digest
-- stays). digests, hashes: 32 bytes each event. touched: inodes whose node was made, changed or ended (above 0), names that led to
-- a folder (below 0).
create table file_appends (
    project integer not null,
    position bigint not null,
    events integer not null,
    incarnation bigint not null,
    sequence bigint not null,
    recorded_at_us bigint not null,
    first_at_ns bigint not null,
    last_at_ns bigint not null,
    texts text[] not null,
    contexts integer[] not null,
    at_ns bigint[] not null,
    inodes bigint[] not null,
    paths bytea[] not null,
    outcomes bytea[],
    payloads bytea[] not null,
    digests bytea not null,
    hashes bytea not null,
    touched bigint[],
    primary key (project, position),
    unique (project, incarnation, sequence)
) with (toast_tuple_target = 8160);
alter table file_appends alter column texts set storage external, alter column contexts set storage external,
    alter column at_ns set storage external, alter column inodes set storage external, alter column paths set storage external,
    alter column outcomes set storage external, alter column payloads set storage external, alter column digests set storage external,
    alter column hashes set storage external, alter column touched set storage external;
create index file_appends_at on file_appends using brin (first_at_ns, last_at_ns) with (pages_per_range = 32, autosummarize = on);
create trigger file_appends_kept before update or delete or truncate on file_appends
    for each statement execute function refuse_change();

-- A row an event. Who asks for positions says also which appends: `append` is the first position of the event's.
create view file_events as
    select a.project, a.position + e.i - 1 as position, a.position as append, a.incarnation, a.sequence + e.i - 1 as sequence,
        a.recorded_at_us, a.first_at_ns, a.last_at_ns, e.at_ns, e.inode, a.texts[e.context] as kind, a.texts[e.context + 1] as agent,
        a.texts[e.context + 2] as session, a.texts[e.context + 3] as tool_call, a.texts[e.context + 4] as decision,
        a.texts[1] as task_id, e.path, nullif(e.outcome, '') as outcome, e.payload,
        substr(a.digests, e.i::integer * 32 - 31, 32) as digest, substr(a.hashes, e.i::integer * 32 - 31, 32) as hash
    from file_appends a cross join lateral unnest(a.at_ns, a.inodes, a.contexts, a.paths, a.outcomes, a.payloads)
        with ordinality as e (at_ns, inode, context, path, outcome, payload, i);

insert into file_appends
    select b.project, b.position, b.appended, b.incarnation, b.sequence, b.recorded_at_us, e.first_at_ns, e.last_at_ns,
        b.task_id || t.texts, e.contexts, e.at_ns, e.inodes, e.paths, e.outcomes, e.payloads, e.digests, e.hashes, null
    from file_events_before b cross join lateral (
        select min(f.at_ns) as first_at_ns, max(f.at_ns) as last_at_ns,
            array_agg((2 + 5 * (f.position - b.position))::integer order by f.position) as contexts,
            array_agg(f.at_ns order by f.position) as at_ns, array_agg(f.inode order by f.position) as inodes,
            array_agg(f.path order by f.position) as paths, array_agg(coalesce(f.outcome, '') order by f.position) as outcomes,
            array_agg(f.payload order by f.position) as payloads, string_agg(f.digest, '' order by f.position) as digests,
            string_agg(f.hash, '' order by f.position) as hashes
        from file_events_before f
        where f.project = b.project and f.position >= b.position and f.position < b.position + b.appended
    ) e cross join lateral (
        select array_agg(u.text order by f.position, u.place) as texts from file_events_before f
        cross join lateral unnest(array[f.kind, f.agent, f.session, f.tool_call, f.decision]) with ordinality as u (text, place)
        where f.project = b.project and f.position >= b.position and f.position < b.position + b.appended
    ) t where b.appended is not null;
drop table file_events_before;

-- The other rows are read as often as a head is asked for, and replaced every few seconds.
create view heads as
    select p.id as project, 'files' as log, coalesce(e.position, 0) as position, coalesce(e.hash, decode(repeat('00', 32), 'hex')) as hash
    from projects p left join lateral (
        select a.position + a.events - 1 as position, substr(a.hashes, a.events * 32 - 31) as hash
        from file_appends a where a.project = p.id order by a.position desc limit 1
    ) e on true
    union all select project, log, position, hash from log_heads where log <> 'files';

-- An append whose tree rows wait: its first position, how far it moved, put_tree's arguments, and what it touched. Rows go as fast
-- as they come.
create table tree_waiting (
    project integer not null,
    position bigint not null,
    step bigint not null,
    s integer[] not null,
    n bigint[],
    b bytea[],
    touched bigint[],
    primary key (project, position)
) with (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
alter table tree_waiting alter column n set storage external, alter column b set storage external;

-- What waits, a row each; a node or an inode of null: ended. Of two of one key the later `since` holds.
create view waiting_nodes as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] + w.step as since, w.b[j] as node
    from tree_waiting w cross join lateral (select generate_series(w.s[9], w.s[10], 2) as k, generate_series(w.s[11], w.s[12]) as j) r
    union all
    select w.project, w.position, w.n[k], w.n[k + 1] + w.step, w.b[j]
    from tree_waiting w cross join lateral (select generate_series(w.s[13], w.s[14], 2) as k, generate_series(w.s[15], w.s[16]) as j) r
    union all
    select w.project, w.position, w.n[k], w.position, null
    from tree_waiting w cross join lateral (select generate_series(w.s[5], w.s[6]) as k) r where w.s[5] > 0;
create view waiting_names as
    select w.project, w.position, w.n[k] as parent, w.b[j] as name, w.n[k + 1] as inode, w.n[k + 2] + w.step as since
    from tree_waiting w cross join lateral (select generate_series(w.s[25], w.s[26], 3) as k, generate_series(w.s[27], w.s[28]) as j) r
    union all
    select w.project, w.position, w.n[k], w.b[j], w.n[k + 1], w.n[k + 2] + w.step
    from tree_waiting w cross join lateral (select generate_series(w.s[29], w.s[30], 3) as k, generate_series(w.s[31], w.s[32]) as j) r
    union all
    select w.project, w.position, w.n[k], w.b[j], null, w.position
    from tree_waiting w cross join lateral (select generate_series(w.s[21], w.s[22]) as k, generate_series(w.s[23], w.s[24]) as j) r where w.s[21] > 0;
create view waiting_aliases as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] as target, w.n[k + 2] + w.step as since
    from tree_waiting w cross join lateral (select generate_series(w.s[33], w.s[34], 3) as k) r where w.s[33] > 0;

create view waiting_drops as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] + w.step as until
    from tree_waiting w cross join lateral (select generate_series(w.s[37], w.s[38], 2) as k) r where w.s[37] > 0;

-- The aliases at the end of the log.
create view tree_aliases as
    select a.project, a.inode, a.target, a.since from aliases a
    where not exists (select 1 from waiting_aliases w where w.project = a.project and w.inode = a.inode)
    union all
    select l.project, l.inode, l.target, l.since from (
        select distinct on (w.project, w.inode) * from waiting_aliases w order by w.project, w.inode, w.since desc
    ) l;
