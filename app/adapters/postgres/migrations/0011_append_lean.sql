-- The files log's head is its last row: there is no row of its own that every append has to replace. Its row in log_heads
-- is where upkeep last saw it: a log that is shorter than that, or other, has lost its end. What is searched for by path or
-- agent is found in spans that upkeep makes (places.py); what is behind the last span is read as it is.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early', 'open_files') loop
        execute 'drop routine ' || old;
    end loop;
end $$;
-- what the row held of the span under way
insert into file_event_places select project, places_from, position, array(select distinct unnest(places))
    from log_heads where log = 'files' and position >= places_from;
alter table log_heads drop column places, drop column places_from;
-- the rows are read as often as a head is asked for, and replaced every few seconds
create view heads as
    select p.id as project, 'files' as log, coalesce(e.position, 0) as position, coalesce(e.hash, decode(repeat('00', 32), 'hex')) as hash
    from projects p left join lateral (
        select f.position, f.hash from file_events f where f.project = p.id order by f.position desc limit 1
    ) e on true
    union all select project, log, position, hash from log_heads where log <> 'files';

-- Take the files log's lock until the transaction ends; return its head and the incarnation's state.
create function open_files(p_project integer, p_incarnation bigint)
returns table (head_position bigint, head_hash bytea, origin text, origin_name text, last_sequence bigint, last_inode bigint)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(p_project, 1);
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

-- What an append writes comes packed: numbers n, byte strings b, texts t, and the shape s, which says where in them the rows of
-- each section stand. A set-returning function in a select list feeds each statement: in FROM it would be written to a store of
-- its own first (10 of 20 us a statement).
-- Append a batch that was folded on tree rows as they were known when the log stood at n[1].
-- Under the lock: those rows must still be what they were ('stale'), the batch must follow its incarnation ('sequence');
-- positions, time and hashes are given here, `since` and `until` above n[1] move with the head.
-- 'missing': a chunk of p_chunks is not stored. 'ok', or 'checked' where others had appended since; else nothing is appended.
-- Returned after 'ok' and 'checked': the position before, the time, the hash before, then the hash of each event.
-- Of a project that is not there all statements run on nothing: for a new connection, so that its first appends need not plan.
-- 'made': the writer knew the head (all rows that it knew were of it), chose the time n[4] and made the hashes; nothing else
-- is to be told. The time is the server's, to a second: what is further off, or not after the last append's, is not taken.
--   s: project, events, then four a section: the first row's place in n, the last row's, the same in b; 0, -1 where there is none
--   n: head, incarnation, first sequence, time or 0, rows.  t: task, contexts.
--   b: the hash at n[1] if all rows known are those of that head: then a head that did not move needs no checking; the front of
--   all headers; middles of headers; rows.
create function append_files(s integer[], n bigint[], b bytea[], t text[], p_chunks bytea[])
returns bytea[] language plpgsql as $$
declare
    log_project integer := s[1];
    events integer := s[2];
    lock text;
    done bytea[];
    head bigint;
    clock bigint;
    last bigint;
    link bytea;
    step bigint := 0;
    at bytea;
    context integer;
    back integer;
    server_us bigint;
    made boolean := false;
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
    if n[4] > 0 and abs(n[4] - server_us) < 1000000 then -- if the log ends where the writer saw it end, all is as it was sent
        insert into file_events (project, position, incarnation, sequence, recorded_at_us, at_ns, inode, kind, agent, session, tool_call,
            decision, task_id, path, outcome, payload, digest, hash, appended)
        select log_project, n[1] + i, n[2], n[3] + i - 1, n[4], n[k], n[k + 1], t[n[k + 2]], t[n[k + 2] + 1], t[n[k + 2] + 2],
            t[n[k + 2] + 3], t[n[k + 2] + 4], t[1], b[j], nullif(b[j + 1], ''::bytea), b[j + 2], b[j + 3], b[j + 5],
            case when i = 1 then events end
        from (select generate_series(1, events) as i, generate_series(s[15], s[16], 3) as k, generate_series(s[17], s[18], 6) as j) as r
        where (
            select e.position = n[1] and e.hash = b[1] and e.recorded_at_us < n[4] from file_events e
            where e.project = log_project order by e.position desc limit 1
        );
        made := found;
    end if;
    if made then
        done := array['made'::bytea];
    else
        select e.position, e.hash, e.recorded_at_us, case when e.incarnation = n[2] then e.sequence else coalesce((
                select f.sequence + f.appended - 1 from file_events f where f.project = log_project and f.incarnation = n[2]
                and f.appended is not null order by f.sequence desc limit 1
            ), 0) end into head, link, clock, last
            from file_events e where e.project = log_project order by e.position desc limit 1;
        if head is null then -- the log is empty
            head := 0;
            link := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
            clock := 0;
            last := 0;
        end if;
        if last <> n[3] - 1 then
            return array['sequence'::bytea];
        end if;
        clock := greatest(clock + 1, server_us);
        step := head - n[1];
        done := array['ok'::bytea, int8send(head), int8send(clock), link];
        if step is distinct from 0 or b[1] is distinct from link then
            if s[7] < 0 then
                return array['moved'::bytea];
            end if;
            -- nodes read: inode, since; names read: parent, since | name
            if exists (
                select 1 from (select generate_series(s[7], s[8], 2) as k) as r where n[k + 1] <> coalesce(
                    (select i.since from inodes i where i.project = log_project and i.inode = n[k]), case when n[k] = 1 then 0 else -1 end
                ) or n[k + 1] < 0 and (select a.since from aliases a where a.project = log_project and a.inode = n[k]) is not null
            ) or s[11] > 0 and exists (
                select 1 from (select generate_series(s[11], s[12], 2) as k, generate_series(s[13], s[14]) as j) as r
                where n[k + 1] is distinct from (
                    select d.since from dentries d where d.project = log_project and d.parent = n[k] and d.name = b[j]
                )
            ) then
                return array['stale'::bytea];
            end if;
            done[1] := 'checked';
        end if;
        at := '\xcf'::bytea || int8send(clock);
        context := s[15] - 1;
        back := s[17] - 2;
        for i in 1 .. events loop
            if head + i > longest then -- the position's next form in MessagePack
                if head + i < 128 then lead := b[2]; cut := 8; longest := 127;
                elsif head + i < 256 then lead := b[2] || '\xcc'; cut := 8; longest := 255;
                elsif head + i < 65536 then lead := b[2] || '\xcd'; cut := 7; longest := 65535;
                elsif head + i < 4294967296 then lead := b[2] || '\xce'; cut := 5; longest := 4294967295;
                else lead := b[2] || '\xcf'; cut := 1; longest := 9223372036854775807;
                end if;
            end if;
            done[i + 4] := sha256(done[i + 3] || lead || substr(int8send(head + i), cut) || b[n[context + 3 * i] / 5 + 3] || at || b[back + 6 * i]);
        end loop;
        insert into file_events (project, position, incarnation, sequence, recorded_at_us, at_ns, inode, kind, agent, session, tool_call,
            decision, task_id, path, outcome, payload, digest, hash, appended)
        select log_project, head + i, n[2], n[3] + i - 1, clock, n[k], n[k + 1], t[n[k + 2]], t[n[k + 2] + 1], t[n[k + 2] + 2],
            t[n[k + 2] + 3], t[n[k + 2] + 4], t[1], b[j], nullif(b[j + 1], ''::bytea), b[j + 2], b[j + 3], done[i + 4],
            case when i = 1 then events end
        from (select generate_series(1, events) as i, generate_series(s[15], s[16], 3) as k, generate_series(s[17], s[18], 6) as j) as r;
    end if;
    if greatest(s[19], s[23], s[27]) > 0 then -- nodes that were: inode, since, until | node; ended: inode; are: inode, since | node
        with past as (
            insert into inodes_past select log_project, n[k], n[k + 1], n[k + 2] + step, b[j]
            from (select generate_series(s[19], s[20], 3) as k, generate_series(s[21], s[22]) as j) as r
        ), ended as (
            delete from inodes where project = log_project and inode = any(array(select n[generate_series(s[23], s[24])]))
        ) insert into inodes select log_project, n[k], n[k + 1] + step, b[j]
        from (select generate_series(s[27], s[28], 2) as k, generate_series(s[29], s[30]) as j) as r
        on conflict on constraint inodes_pkey do update set since = excluded.since, node = excluded.node;
    end if;
    if s[31] > 0 then -- nodes that are new: inode, since | node
        insert into inodes select log_project, n[k], n[k + 1] + step, b[j]
        from (select generate_series(s[31], s[32], 2) as k, generate_series(s[33], s[34]) as j) as r;
    end if;
    if s[35] > 0 then -- names that were: parent, inode, since, until | name; ended: parent | name
        with past as (
            insert into dentries_past select log_project, n[k], b[j], n[k + 1], n[k + 2], n[k + 3] + step
            from (select generate_series(s[35], s[36], 4) as k, generate_series(s[37], s[38]) as j) as r
        ) delete from dentries where ctid = any(array(
            select (select d.ctid from dentries d where d.project = log_project and d.parent = n[k] and d.name = b[j])
            from (select generate_series(s[39], s[40], 1) as k, generate_series(s[41], s[42], 1) as j) as r
        ));
    end if;
    if s[43] > 0 then -- names: parent, inode, since | name
        insert into dentries select log_project, n[k], b[j], n[k + 1], n[k + 2] + step
        from (select generate_series(s[43], s[44], 3) as k, generate_series(s[45], s[46]) as j) as r
        on conflict on constraint dentries_pkey do update set inode = excluded.inode, since = excluded.since;
    end if;
    if s[47] > 0 then -- names that are new: parent, inode, since | name
        insert into dentries select log_project, n[k], b[j], n[k + 1], n[k + 2] + step
        from (select generate_series(s[47], s[48], 3) as k, generate_series(s[49], s[50]) as j) as r;
    end if;
    if s[51] > 0 then -- chunks that were: inode, index, until
        insert into content_chunks_past select log_project, c.inode, c.index, c.hash, c.size_bytes, c.since, n[k + 2] + step
        from (select generate_series(s[51], s[52], 3) as k) as r cross join lateral (
            select * from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1] offset 0
        ) as c;
    end if;
    if s[55] > 0 then -- chunks that ended and have no other in their place: inode, index
        delete from content_chunks where ctid = any(array(
            select (select h.ctid from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1])
            from (select generate_series(s[55], s[56], 2) as k) as r
        ));
    end if;
    if s[59] > 0 then -- ranges that ended: inode, first, end, until
        with gone as (
            select c.*, n[k + 3] + step as until
            from (select generate_series(s[59], s[60], 4) as k) as r cross join lateral (
                select h.ctid as place, h.* from content_chunks h
                where h.project = log_project and h.inode = n[k] and h.index >= n[k + 1] and h.index < n[k + 2] offset 0
            ) as c
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
    if s[63] > 0 then -- chunks: inode, index, size, since | name
        insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
        from (select generate_series(s[63], s[64], 4) as k, generate_series(s[65], s[66]) as j) as r
        on conflict on constraint content_chunks_pkey do update
        set hash = excluded.hash, size_bytes = excluded.size_bytes, since = excluded.since;
    end if;
    if s[67] > 0 then -- chunks that are new: inode, index, size, since | name
        insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
        from (select generate_series(s[67], s[68], 4) as k, generate_series(s[69], s[70]) as j) as r;
    end if;
    if s[71] > 0 then -- chunks that were made and replaced by this append: inode, index, size, since, until | name
        insert into content_chunks_past select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step, n[k + 4] + step
        from (select generate_series(s[71], s[72], 5) as k, generate_series(s[73], s[74]) as j) as r;
    end if;
    if s[75] > 0 then -- aliases: inode, target, since
        insert into aliases select log_project, n[k], n[k + 1], n[k + 2] + step
        from (select generate_series(s[75], s[76], 3) as k) as r
        on conflict on constraint aliases_pkey do update set target = excluded.target, since = excluded.since;
    end if;
    return done;
end $$;

-- The same where others wait for the lock: it is given back before the flush, which is then one for all of them. What is returned
-- has been flushed: the second transaction writes a record, and its commit waits until everything up to there is on disk.
create procedure append_files_early(
    s integer[], n bigint[], b bytea[], t text[], p_chunks bytea[], inout done bytea[]
) language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    done := append_files(s, n, b, t, p_chunks);
    commit;
    perform pg_logical_emit_message(true, 'weir', '');
end $$;
