-- What an append changes in the tree waits, packed as it came, until some hundred events' changes are put into the tables at
-- once: a row a node and a name with every small append was half of what Postgres did for it. The tree of the log's end is that of
-- the tables with what waits over it (views tree_nodes, tree_names, tree_aliases). Whether others have changed what a batch was
-- folded on is told by the keys that each append says it touched.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early', 'open_files') loop
        execute 'drop routine ' || old;
    end loop;
end $$;

-- Of the first event of an append: inodes whose node it made, changed or ended (above 0), names that led to a folder (below 0).
alter table file_events add column touched bigint[];
alter table file_events alter column touched set storage external;

-- An append whose tree rows wait: its first position, how far it moved, and put_tree's arguments. Rows go as fast as they come.
create table tree_waiting (
    project integer not null,
    position bigint not null,
    step bigint not null,
    s integer[] not null,
    n bigint[],
    b bytea[],
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

-- The tree at the end of the log.
create view tree_nodes as
    select i.project, i.inode, i.since, i.node from inodes i
    where not exists (select 1 from waiting_nodes w where w.project = i.project and w.inode = i.inode)
    union all
    select l.project, l.inode, l.since, l.node from (
        select distinct on (w.project, w.inode) * from waiting_nodes w order by w.project, w.inode, w.since desc
    ) l where l.node is not null;
create view tree_names as
    select d.project, d.parent, d.name, d.inode, d.since from dentries d
    where not exists (select 1 from waiting_names w where w.project = d.project and w.parent = d.parent and w.name = d.name)
    union all
    select l.project, l.parent, l.name, l.inode, l.since from (
        select distinct on (w.project, w.parent, w.name) * from waiting_names w order by w.project, w.parent, w.name, w.since desc
    ) l where l.inode is not null;
create view tree_aliases as
    select a.project, a.inode, a.target, a.since from aliases a
    where not exists (select 1 from waiting_aliases w where w.project = a.project and w.inode = a.inode)
    union all
    select l.project, l.inode, l.target, l.since from (
        select distinct on (w.project, w.inode) * from waiting_aliases w order by w.project, w.inode, w.since desc
    ) l;

-- Write what an append changes in the tree; p_step is how far it moved since it was folded: `since` and `until` of its own
-- positions move with it. Numbers n and byte strings b, and the shape s, which says where in them the rows of each section
-- stand: four numbers a section: the first row's place in n, the last row's, the same in b; 0, -1 where there is none.
-- A set-returning function in a select list feeds each statement: in FROM it would be written to a store of its own first
-- (10 of 20 us a statement).
create function put_tree(p_project integer, p_step bigint, s integer[], n bigint[], b bytea[]) returns void language plpgsql as $$
begin
    if greatest(s[1], s[5], s[9]) > 0 then -- nodes that were: inode, since, until | node; ended: inode; are: inode, since | node
        with past as (
            insert into inodes_past select p_project, n[k], n[k + 1], n[k + 2] + p_step, b[j]
            from (select generate_series(s[1], s[2], 3) as k, generate_series(s[3], s[4]) as j) as r
        ), ended as (
            delete from inodes where project = p_project and inode = any(array(select n[generate_series(s[5], s[6])]))
        ) insert into inodes select p_project, n[k], n[k + 1] + p_step, b[j]
        from (select generate_series(s[9], s[10], 2) as k, generate_series(s[11], s[12]) as j) as r
        on conflict on constraint inodes_pkey do update set since = excluded.since, node = excluded.node;
    end if;
    if s[13] > 0 then -- nodes that are new: inode, since | node
        insert into inodes select p_project, n[k], n[k + 1] + p_step, b[j]
        from (select generate_series(s[13], s[14], 2) as k, generate_series(s[15], s[16]) as j) as r;
    end if;
    if s[17] > 0 then -- names that were: parent, inode, since, until | name; ended: parent | name
        with past as (
            insert into dentries_past select p_project, n[k], b[j], n[k + 1], n[k + 2], n[k + 3] + p_step
            from (select generate_series(s[17], s[18], 4) as k, generate_series(s[19], s[20]) as j) as r
        ) delete from dentries where ctid = any(array(
            select (select d.ctid from dentries d where d.project = p_project and d.parent = n[k] and d.name = b[j])
            from (select generate_series(s[21], s[22], 1) as k, generate_series(s[23], s[24], 1) as j) as r
        ));
    end if;
    if s[25] > 0 then -- names: parent, inode, since | name
        insert into dentries select p_project, n[k], b[j], n[k + 1], n[k + 2] + p_step
        from (select generate_series(s[25], s[26], 3) as k, generate_series(s[27], s[28]) as j) as r
        on conflict on constraint dentries_pkey do update set inode = excluded.inode, since = excluded.since;
    end if;
    if s[29] > 0 then -- names that are new: parent, inode, since | name
        insert into dentries select p_project, n[k], b[j], n[k + 1], n[k + 2] + p_step
        from (select generate_series(s[29], s[30], 3) as k, generate_series(s[31], s[32]) as j) as r;
    end if;
    if s[33] > 0 then -- aliases: inode, target, since
        insert into aliases select p_project, n[k], n[k + 1], n[k + 2] + p_step
        from (select generate_series(s[33], s[34], 3) as k) as r
        on conflict on constraint aliases_pkey do update set target = excluded.target, since = excluded.since;
    end if;
    if s[37] > 0 then -- inodes whose chunks ended: inode, until
        with gone as (
            select c.*, n[k + 1] + p_step as until
            from (select generate_series(s[37], s[38], 2) as k) as r cross join lateral (
                select h.ctid as place, h.* from content_chunks h where h.project = p_project and h.inode = n[k] offset 0
            ) as c
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
end $$;

-- Put into the tables what waits, up to now. Its lock is taken after the log's, never before.
create function settle_tree(p_project integer) returns void language plpgsql as $$
declare last bigint;
begin
    if not exists (select 1 from tree_waiting where project = p_project) then
        return;
    end if;
    perform pg_advisory_xact_lock(p_project, 5);
    select max(position) into last from tree_waiting where project = p_project;
    if last is null then
        return;
    end if;
    with changed as materialized (
        select distinct on (w.inode) w.inode, w.since, w.node from waiting_nodes w
        where w.project = p_project and w.position <= last order by w.inode, w.since desc
    ), past as (
        insert into inodes_past select p_project, w.n[k], w.n[k + 1], w.n[k + 2] + w.step, w.b[j]
        from tree_waiting w cross join lateral (select generate_series(w.s[1], w.s[2], 3) as k, generate_series(w.s[3], w.s[4]) as j) r
        where w.project = p_project and w.position <= last and w.s[1] > 0
    ), ended as (
        delete from inodes where ctid = any(array(
            select (select i.ctid from inodes i where i.project = p_project and i.inode = c.inode) from changed c where c.node is null
        ))
    ) insert into inodes select p_project, c.inode, c.since, c.node from changed c where c.node is not null
        on conflict on constraint inodes_pkey do update set since = excluded.since, node = excluded.node;
    with changed as materialized (
        select distinct on (w.parent, w.name) w.parent, w.name, w.inode, w.since from waiting_names w
        where w.project = p_project and w.position <= last order by w.parent, w.name, w.since desc
    ), past as (
        insert into dentries_past select p_project, w.n[k], w.b[j], w.n[k + 1], w.n[k + 2], w.n[k + 3] + w.step
        from tree_waiting w cross join lateral (select generate_series(w.s[17], w.s[18], 4) as k, generate_series(w.s[19], w.s[20]) as j) r
        where w.project = p_project and w.position <= last and w.s[17] > 0
    ), ended as (
        delete from dentries where ctid = any(array(
            select (select d.ctid from dentries d where d.project = p_project and d.parent = c.parent and d.name = c.name)
            from changed c where c.inode is null
        ))
    ) insert into dentries select p_project, c.parent, c.name, c.inode, c.since from changed c where c.inode is not null
        on conflict on constraint dentries_pkey do update set inode = excluded.inode, since = excluded.since;
    with changed as materialized (
        select distinct on (w.inode) w.inode, w.target, w.since from waiting_aliases w
        where w.project = p_project and w.position <= last order by w.inode, w.since desc
    ) insert into aliases select p_project, c.inode, c.target, c.since from changed c
        on conflict on constraint aliases_pkey do update set target = excluded.target, since = excluded.since;
    with gone as (
        select c.*, w.until from waiting_drops w cross join lateral (
            select h.ctid as place, h.* from content_chunks h where h.project = p_project and h.inode = w.inode offset 0
        ) as c where w.project = p_project and w.position <= last
    ), kept as (
        insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
    ) delete from content_chunks where ctid = any(array(select place from gone));
    delete from tree_waiting where project = p_project and position <= last;
end $$;

-- Take the files log's lock until the transaction ends; return its head and the incarnation's state.
create function open_files(p_project integer, p_incarnation bigint)
returns table (head_position bigint, head_hash bytea, origin text, origin_name text, last_sequence bigint, last_inode bigint)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(p_project, 1);
    perform settle_tree(p_project);
    return query select h.position, h.hash, i.origin, i.origin_name, coalesce((
                select e.sequence + e.appended - 1 from file_events e where e.project = p_project and e.incarnation = p_incarnation
                and e.appended is not null order by e.sequence desc limit 1
            ), 0), greatest(
            (select max(n.inode) from inodes n where n.project = p_project and n.inode between p_incarnation << 32 and (p_incarnation << 32) + 4294967295),
            (select max(a.inode) from aliases a where a.project = p_project and a.inode between p_incarnation << 32 and (p_incarnation << 32) + 4294967295),
            0
        ) from heads h left join incarnations i on i.project = p_project and i.incarnation = p_incarnation
        where h.project = p_project and h.log = 'files';
end $$;

-- What an append writes comes packed: numbers n, byte strings b, texts t, and the shape s as for put_tree.
-- Append a batch that was folded on tree rows as they were known when the log stood at n[1].
-- Under the lock: no append since may be of the same incarnation or have touched p_reads ('stale'); positions, time and hashes
-- are given here, `since` and `until` above n[1] move with the head.
-- 'missing': a chunk of p_chunks is not stored. 'ok', or 'checked' where others had appended since; else nothing is appended.
-- Returned after 'ok' and 'checked': the position before, the time, what others touched, the hash before, then that of each event.
-- Of a project that is not there all statements run on nothing: for a new connection, so that its first appends need not plan.
-- 'made': the writer knew the head, chose the time n[4] and made the hashes; nothing else is to be told. The time is the
-- server's, to a second: what is further off, or not after the last append's, is not taken; then, and where the head has
-- moved, it is 'moved' and nothing is appended.
--   s: project, events, then a section each for chunks, events and seven of content
--   n: head, incarnation, first sequence, time or 0, rows.  t: task, contexts.
--   b: the hash at n[1]; the front of all headers; middles of headers; rows.
--   ts, tn, tb: the tree, for put_tree. p_tree: 0: put it; 1: let it wait; 2: the same, then put all that waits.
create function append_files(
    s integer[], n bigint[], b bytea[], t text[], p_chunks bytea[], p_reads bigint[], p_touched bigint[],
    ts integer[], tn bigint[], tb bytea[], p_tree integer
) returns bytea[] language plpgsql as $$
declare
    log_project integer := s[1];
    events integer := s[2];
    lock text;
    done bytea[];
    head bigint;
    clock bigint;
    link bytea;
    others bytea;
    is_stale boolean;
    step bigint := 0;
    made boolean := false;
    at bytea;
    context integer;
    back integer;
    server_us bigint;
    lead bytea;
    cut integer;
    longest bigint := -1;
begin
    if s[3] > 0 then -- chunks: size, encoding | name, data
        insert into chunks (project, hash, size_bytes, encoding, data)
        select log_project, b[j], n[k], case n[k + 1] when 0 then 'raw' else 'zstd' end, b[j + 1]
        from (select generate_series(s[3], s[4], 2) as k, generate_series(s[5], s[6], 2) as j) as r
        on conflict on constraint chunks_pkey do nothing;
    end if;
    if p_chunks is not null and cardinality(missing_chunks(log_project, p_chunks)) > 0 then
        return array['missing'::bytea];
    end if;
    lock := pg_advisory_xact_lock(log_project, 1);
    -- events: time, inode, place of the context in t | path, outcome, payload, digest, back of the header, hash
    server_us := (date_part('epoch', clock_timestamp()) * 1000000)::bigint;
    if n[4] > 0 then
        if abs(n[4] - server_us) < 1000000 then -- if the log ends where the writer saw it end, all is as it was sent
            insert into file_events (project, position, incarnation, sequence, recorded_at_us, at_ns, inode, kind, agent, session,
                tool_call, decision, task_id, path, outcome, payload, digest, hash, appended, touched)
            select log_project, n[1] + i, n[2], n[3] + i - 1, n[4], n[k], n[k + 1], t[n[k + 2]], t[n[k + 2] + 1], t[n[k + 2] + 2],
                t[n[k + 2] + 3], t[n[k + 2] + 4], t[1], b[j], nullif(b[j + 1], ''::bytea), b[j + 2], b[j + 3], b[j + 5],
                case when i = 1 then events end, case when i = 1 then p_touched end
            from (select generate_series(1, events) as i, generate_series(s[7], s[8], 3) as k, generate_series(s[9], s[10], 6) as j) as r
            where (
                select e.position = n[1] and e.hash = b[1] and e.recorded_at_us < n[4] from file_events e
                where e.project = log_project order by e.position desc limit 1
            );
            made := found;
        end if;
        if not made then
            return array['moved'::bytea];
        end if;
        done := array['made'::bytea];
    else
        select e.position, e.hash, e.recorded_at_us into head, link, clock
            from file_events e where e.project = log_project order by e.position desc limit 1;
        if head is null then -- the log is empty
            head := 0;
            link := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
            clock := 0;
        end if;
        step := head - n[1];
        clock := greatest(clock + 1, server_us);
        done := array['ok'::bytea, int8send(head), int8send(clock), '', link];
        if step > 0 then
            if step > 20000 then
                return array['stale'::bytea];
            end if;
            -- who appended since: another incarnation, and nothing that was read here
            select bool_or(e.position = n[1] and e.hash <> b[1] or e.position > n[1] and (e.incarnation = n[2] or e.touched && p_reads)),
                string_agg(array_send(e.touched), ''::bytea) filter (where e.position > n[1]) into is_stale, others
                from file_events e where e.project = log_project and e.position >= n[1] and (e.appended is not null or e.position = n[1]);
            if is_stale then
                return array['stale'::bytea];
            end if;
            done[1] := 'checked';
            done[4] := coalesce(others, '');
        elsif step < 0 or b[1] <> link then
            return array['stale'::bytea];
        end if;
        at := '\xcf'::bytea || int8send(clock);
        context := s[7] - 1;
        back := s[9] - 2;
        for i in 1 .. events loop
            if head + i > longest then -- the position's next form in MessagePack
                if head + i < 128 then lead := b[2]; cut := 8; longest := 127;
                elsif head + i < 256 then lead := b[2] || '\xcc'; cut := 8; longest := 255;
                elsif head + i < 65536 then lead := b[2] || '\xcd'; cut := 7; longest := 65535;
                elsif head + i < 4294967296 then lead := b[2] || '\xce'; cut := 5; longest := 4294967295;
                else lead := b[2] || '\xcf'; cut := 1; longest := 9223372036854775807;
                end if;
            end if;
            done[i + 5] := sha256(done[i + 4] || lead || substr(int8send(head + i), cut) || b[n[context + 3 * i] / 5 + 3] || at || b[back + 6 * i]);
        end loop;
        insert into file_events (project, position, incarnation, sequence, recorded_at_us, at_ns, inode, kind, agent, session, tool_call,
            decision, task_id, path, outcome, payload, digest, hash, appended, touched)
        select log_project, head + i, n[2], n[3] + i - 1, clock, n[k], n[k + 1], t[n[k + 2]], t[n[k + 2] + 1], t[n[k + 2] + 2],
            t[n[k + 2] + 3], t[n[k + 2] + 4], t[1], b[j], nullif(b[j + 1], ''::bytea), b[j + 2], b[j + 3], done[i + 5],
            case when i = 1 then events end, case when i = 1 then p_touched end
        from (select generate_series(1, events) as i, generate_series(s[7], s[8], 3) as k, generate_series(s[9], s[10], 6) as j) as r;
    end if;
    if s[11] > 0 then -- chunks that were: inode, index, until
        insert into content_chunks_past select log_project, c.inode, c.index, c.hash, c.size_bytes, c.since, n[k + 2] + step
        from (select generate_series(s[11], s[12], 3) as k) as r cross join lateral (
            select * from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1] offset 0
        ) as c;
    end if;
    if s[15] > 0 then -- chunks that ended and have no other in their place: inode, index
        delete from content_chunks where ctid = any(array(
            select (select h.ctid from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1])
            from (select generate_series(s[15], s[16], 2) as k) as r
        ));
    end if;
    if s[19] > 0 then -- ranges that ended: inode, first, end, until
        with gone as (
            select c.*, n[k + 3] + step as until
            from (select generate_series(s[19], s[20], 4) as k) as r cross join lateral (
                select h.ctid as place, h.* from content_chunks h
                where h.project = log_project and h.inode = n[k] and h.index >= n[k + 1] and h.index < n[k + 2] offset 0
            ) as c
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
    if s[23] > 0 then -- chunks: inode, index, size, since | name
        insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
        from (select generate_series(s[23], s[24], 4) as k, generate_series(s[25], s[26]) as j) as r
        on conflict on constraint content_chunks_pkey do update
        set hash = excluded.hash, size_bytes = excluded.size_bytes, since = excluded.since;
    end if;
    if s[27] > 0 then -- chunks that are new: inode, index, size, since | name
        insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
        from (select generate_series(s[27], s[28], 4) as k, generate_series(s[29], s[30]) as j) as r;
    end if;
    if s[31] > 0 then -- chunks that were made and replaced by this append: inode, index, size, since, until | name
        insert into content_chunks_past select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step, n[k + 4] + step
        from (select generate_series(s[31], s[32], 5) as k, generate_series(s[33], s[34]) as j) as r;
    end if;
    if p_tree > 0 then
        insert into tree_waiting values (log_project, n[1] + step + 1, step, ts, tn, tb);
    end if;
    if p_tree <> 1 then
        lock := settle_tree(log_project);
    end if;
    if p_tree = 0 then
        lock := put_tree(log_project, step, ts, tn, tb);
    end if;
    return done;
end $$;

-- The same where others wait for the lock: it is given back before the flush, which is then one for all of them. What is returned
-- has been flushed: the second transaction writes a record, and its commit waits until everything up to there is on disk.
create procedure append_files_early(
    s integer[], n bigint[], b bytea[], t text[], p_chunks bytea[], p_reads bigint[], p_touched bigint[],
    ts integer[], tn bigint[], tb bytea[], p_tree integer, inout done bytea[]
) language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    done := append_files(s, n, b, t, p_chunks, p_reads, p_touched, ts, tn, tb, least(p_tree, 1));
    commit;
    if p_tree = 2 and cardinality(done) > 1 then
        perform settle_tree(s[1]);
    end if;
    perform pg_logical_emit_message(true, 'weir', '');
end $$;
