-- What an append changes in the content maps waits with what it changes in the tree (migrations/0012), in sections behind those:
-- rows that ended: inode, index, until; ranges that ended: inode, first, end, until; chunks: inode, index, size, since | name;
-- chunks that were made and replaced by the append: inode, index, size, since, until | name. Of rows that waited before s ends earlier.
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('append_files', 'append_files_early', 'settle_tree') loop
        execute 'drop routine ' || old;
    end loop;
end $$;

create view waiting_chunks as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] as index, w.b[j] as hash, w.n[k + 2]::integer as size_bytes,
        w.n[k + 3] + w.step as since
    from tree_waiting w cross join lateral (select generate_series(w.s[49], w.s[50], 4) as k, generate_series(w.s[51], w.s[52]) as j) r
    where w.s[49] > 0;
create view waiting_chunks_past as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] as index, w.b[j] as hash, w.n[k + 2]::integer as size_bytes,
        w.n[k + 3] + w.step as since, w.n[k + 4] + w.step as until
    from tree_waiting w cross join lateral (select generate_series(w.s[53], w.s[54], 5) as k, generate_series(w.s[55], w.s[56]) as j) r
    where w.s[53] > 0;
-- Rows of [first, past) that were made before `until` ended there, unless they had ended before.
create view waiting_ends as
    select w.project, w.position, w.n[k] as inode, w.n[k + 1] as first, w.n[k + 1] + 1 as past, w.n[k + 2] + w.step as until
    from tree_waiting w cross join lateral (select generate_series(w.s[41], w.s[42], 3) as k) r where w.s[41] > 0
    union all
    select w.project, w.position, w.n[k], w.n[k + 1], w.n[k + 2], w.n[k + 3] + w.step
    from tree_waiting w cross join lateral (select generate_series(w.s[45], w.s[46], 4) as k) r where w.s[45] > 0
    union all
    select w.project, w.position, w.n[k], 0, 9223372036854775807, w.n[k + 1] + w.step
    from tree_waiting w cross join lateral (select generate_series(w.s[37], w.s[38], 2) as k) r where w.s[37] > 0;
drop view waiting_drops;

-- Put into the tables what waits, up to now; unless p_must, only where nobody else is at it. Its lock is taken after the log's,
-- never before.
create function settle_tree(p_project integer, p_must boolean) returns void language plpgsql as $$
declare last bigint;
begin
    if not exists (select 1 from tree_waiting where project = p_project) then
        return;
    end if;
    if p_must then
        perform pg_advisory_xact_lock(p_project, 5);
    elsif not pg_try_advisory_xact_lock(p_project, 5) then
        return;
    end if;
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
    with ends as materialized (
        select inode, first, past, until from waiting_ends where project = p_project and position <= last
    ), gone as materialized ( -- rows of the table that ended
        select distinct on (c.place) c.*, e.until from ends e cross join lateral (
            select h.ctid as place, h.* from content_chunks h where h.project = p_project and h.inode = e.inode
                and h.index >= e.first and h.index < e.past and h.since < e.until offset 0
        ) as c order by c.place, e.until
    ), made as materialized ( -- rows that waited, each with its end
        select distinct on (w.inode, w.index, w.since) w.inode, w.index, w.hash, w.size_bytes, w.since, e.until
        from waiting_chunks w left join ends e on e.inode = w.inode and e.first <= w.index and e.past > w.index and e.until > w.since
        where w.project = p_project and w.position <= last order by w.inode, w.index, w.since, e.until
    ), kept as (
        insert into content_chunks_past select p_project, inode, index, hash, size_bytes, since, until from gone
        union all select p_project, inode, index, hash, size_bytes, since, until from made where until is not null
        union all select p_project, inode, index, hash, size_bytes, since, until from waiting_chunks_past
            where project = p_project and position <= last
    ), ended as (
        delete from content_chunks where ctid = any(array(
            select g.place from gone g where not exists (
                select 1 from made m where m.inode = g.inode and m.index = g.index and m.until is null
            )
        ))
    ) insert into content_chunks select distinct on (m.inode, m.index) p_project, m.inode, m.index, m.hash, m.size_bytes, m.since
        from made m where m.until is null order by m.inode, m.index, m.since desc
        on conflict on constraint content_chunks_pkey do update
        set hash = excluded.hash, size_bytes = excluded.size_bytes, since = excluded.since;
    delete from tree_waiting where project = p_project and position <= last;
end $$;

-- Append a batch that was folded on tree rows as they were known when the log stood at n[1].
-- Under the lock: no append since may be of the same incarnation or have touched p_reads ('stale'); positions, time and hashes
-- are given here, `since` and `until` above n[1] move with the head.
-- 'missing': a chunk of p_chunks is not stored. 'ok', or 'checked' where others had appended since; else nothing is appended.
-- Returned after 'ok' and 'checked': the position before, the time, what others touched and who they are, the hash before, the hashes.
-- Of a project that is not there all statements run on nothing: for a new connection, so that its first appends need not plan.
-- 'made': the writer knew the head, chose the time n[4] and made p_hashes; nothing else is to be told. The time is the server's,
-- to a second: what is further off, or not after the last append's, is not taken; then, and where the head has moved, it is
-- 'moved' and nothing is appended. Without a time p_backs are the last pieces of the headers.
--   s: project, events, then a section each for chunks and for six of content: rows that come packed as for put_tree
--   n: head, incarnation, first sequence, time or 0, first and last at_ns, rows.
--   b: the hash at n[1]; the front of all headers; middles of headers; rows.
--   ts, tn, tb: the tree, for put_tree. p_tree: 0: put it; 1: let it wait; 2: the same, then put all that waits.
create function append_files(
    s integer[], n bigint[], b bytea[], p_chunks bytea[], p_texts text[], p_contexts integer[], p_at_ns bigint[], p_inodes bigint[],
    p_paths bytea[], p_outcomes bytea[], p_payloads bytea[], p_digests bytea, p_hashes bytea, p_backs bytea[], p_reads bigint[],
    p_touched bigint[], ts integer[], tn bigint[], tb bytea[], p_tree integer
) returns bytea[] language plpgsql as $$
declare
    log_project integer := s[1];
    count integer := s[2];
    lock text;
    done bytea[];
    head bigint;
    clock bigint;
    link bytea;
    late record;
    before bigint := 9223372036854775807;
    touched bytea := '';
    others bytea := '';
    step bigint := 0;
    at bytea;
    hashes bytea := '';
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
    if n[4] > 0 then
        -- if the log ends where the writer saw it end, and the time is the server's to a second, all is as it was sent
        insert into file_appends select log_project, n[1] + 1, count, n[2], n[3], n[4], n[5], n[6], p_texts, p_contexts, p_at_ns,
            p_inodes, p_paths, p_outcomes, p_payloads, p_digests, p_hashes, p_touched
        where abs(n[4] - date_part('epoch', clock_timestamp()) * 1000000) < 1000000 and (
            select a.position + a.events - 1 = n[1] and substr(a.hashes, a.events * 32 - 31) = b[1] and a.recorded_at_us < n[4]
            from file_appends a where a.project = log_project order by a.position desc limit 1
        );
        if not found and log_project > 0 then
            return array['moved'::bytea];
        end if;
        done := array['made'::bytea];
    else
        -- back to the writer's head, a few rows at a time since all that are asked for are read before the first is looked at:
        -- who appended since is another incarnation, and touched nothing that was read here
        <<back>>
        loop
            for late in select a.position as first, a.position + a.events - 1 as last, substr(a.hashes, a.events * 32 - 31) as hash,
                a.recorded_at_us as clock, int8send(a.incarnation) as incarnation, array_send(coalesce(a.touched, '{0}')) as touched,
                a.incarnation = n[2] or a.touched && p_reads as met
                from file_appends a where a.project = log_project and a.position < before order by a.position desc limit 5 loop
                if head is null then
                    head := late.last;
                    link := late.hash;
                    clock := late.clock;
                end if;
                if late.last <= n[1] then
                    if late.last <> n[1] or late.hash <> b[1] then
                        return array['stale'::bytea];
                    end if;
                    exit back;
                end if;
                if late.met or late.last < head - 20000 then
                    return array['stale'::bytea];
                end if;
                touched := touched || late.touched;
                others := others || late.incarnation;
            end loop;
            exit when not found;
            before := late.first;
        end loop;
        if head is null then -- the log is empty
            head := 0;
            link := '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea;
            clock := 0;
        end if;
        step := head - n[1];
        if step < 0 then
            return array['stale'::bytea];
        end if;
        clock := greatest(clock + 1, (date_part('epoch', clock_timestamp()) * 1000000)::bigint);
        at := '\xcf'::bytea || int8send(clock);
        done := array[case when step = 0 then 'ok' else 'checked' end::bytea, int8send(head), int8send(clock), touched, others, link];
        for i in 1 .. count loop -- the position in MessagePack's shortest form
            link := sha256(link || b[2] || case
                when head + i < 128 then substr(int8send(head + i), 8)
                when head + i < 256 then '\xcc' || substr(int8send(head + i), 8)
                when head + i < 65536 then '\xcd' || substr(int8send(head + i), 7)
                when head + i < 4294967296 then '\xce' || substr(int8send(head + i), 5)
                else '\xcf' || int8send(head + i)
            end || b[p_contexts[i] / 5 + 3] || at || p_backs[i]);
            hashes := hashes || link;
        end loop;
        insert into file_appends values (log_project, head + 1, count, n[2], n[3], clock, n[5], n[6], p_texts, p_contexts, p_at_ns,
            p_inodes, p_paths, p_outcomes, p_payloads, p_digests, hashes, p_touched);
        done := done || hashes;
    end if;
    if p_tree = 0 then
        lock := settle_tree(log_project, true);
        if s[7] > 0 then -- chunks that were: inode, index, until
            insert into content_chunks_past select log_project, c.inode, c.index, c.hash, c.size_bytes, c.since, n[k + 2] + step
            from (select generate_series(s[7], s[8], 3) as k) as r cross join lateral (
                select * from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1] offset 0
            ) as c;
        end if;
        if s[11] > 0 then -- chunks that ended and have no other in their place: inode, index
            delete from content_chunks where ctid = any(array(
                select (select h.ctid from content_chunks h where h.project = log_project and h.inode = n[k] and h.index = n[k + 1])
                from (select generate_series(s[11], s[12], 2) as k) as r
            ));
        end if;
        if s[15] > 0 then -- ranges that ended: inode, first, end, until
            with gone as (
                select c.*, n[k + 3] + step as until
                from (select generate_series(s[15], s[16], 4) as k) as r cross join lateral (
                    select h.ctid as place, h.* from content_chunks h
                    where h.project = log_project and h.inode = n[k] and h.index >= n[k + 1] and h.index < n[k + 2] offset 0
                ) as c
            ), kept as (
                insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
            ) delete from content_chunks where ctid = any(array(select place from gone));
        end if;
        if s[19] > 0 then -- chunks: inode, index, size, since | name
            insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
            from (select generate_series(s[19], s[20], 4) as k, generate_series(s[21], s[22]) as j) as r
            on conflict on constraint content_chunks_pkey do update
            set hash = excluded.hash, size_bytes = excluded.size_bytes, since = excluded.since;
        end if;
        if s[23] > 0 then -- chunks that are new: inode, index, size, since | name
            insert into content_chunks select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step
            from (select generate_series(s[23], s[24], 4) as k, generate_series(s[25], s[26]) as j) as r;
        end if;
        if s[27] > 0 then -- chunks that were made and replaced by this append: inode, index, size, since, until | name
            insert into content_chunks_past select log_project, n[k], n[k + 1], b[j], n[k + 2], n[k + 3] + step, n[k + 4] + step
            from (select generate_series(s[27], s[28], 5) as k, generate_series(s[29], s[30]) as j) as r;
        end if;
        lock := put_tree(log_project, step, ts, tn, tb);
    else
        insert into tree_waiting values (log_project, n[1] + step + 1, step, ts, tn, tb, p_touched);
    end if;
    if p_tree = 2 then
        lock := settle_tree(log_project, false);
    end if;
    return done;
end $$;

-- The same where others wait for the lock: it is given back before the flush, which is then one for all of them. What is returned
-- has been flushed: the second transaction writes a record, and its commit waits until everything up to there is on disk.
create procedure append_files_early(
    s integer[], n bigint[], b bytea[], p_chunks bytea[], p_texts text[], p_contexts integer[], p_at_ns bigint[], p_inodes bigint[],
    p_paths bytea[], p_outcomes bytea[], p_payloads bytea[], p_digests bytea, p_hashes bytea, p_backs bytea[], p_reads bigint[],
    p_touched bigint[], ts integer[], tn bigint[], tb bytea[], p_tree integer, inout done bytea[]
) language plpgsql as $$
declare
    said text; -- an assignment takes a tenth of what PERFORM does
begin
    said := set_config('synchronous_commit', 'off', true);
    done := append_files(s, n, b, p_chunks, p_texts, p_contexts, p_at_ns, p_inodes, p_paths, p_outcomes, p_payloads, p_digests,
        p_hashes, p_backs, p_reads, p_touched, ts, tn, tb, least(p_tree, 1));
    commit;
    if p_tree = 2 and cardinality(done) > 1 then
        said := settle_tree(s[1], false);
    end if;
    said := pg_logical_emit_message(true, 'weir', '');
end $$;
