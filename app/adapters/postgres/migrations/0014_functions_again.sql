-- put_tree and open_files stood in 0012 and were changed there after some stores had taken it; such a store kept the older ones.
-- They are made here once more, whatever was there. A migration that is in use is never changed again (a test holds their digests).
do $$
declare old regprocedure;
begin
    for old in select oid::regprocedure from pg_proc where pronamespace = 'public'::regnamespace
        and proname in ('put_tree', 'open_files') loop
        execute 'drop routine ' || old;
    end loop;
end $$;

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
                select h.ctid as place, h.* from content_chunks h
                where h.project = p_project and h.inode = n[k] and h.since < n[k + 1] + p_step offset 0
            ) as c
        ), kept as (
            insert into content_chunks_past select project, inode, index, hash, size_bytes, since, until from gone
        ) delete from content_chunks where ctid = any(array(select place from gone));
    end if;
end $$;

-- Take the files log's lock until the transaction ends; return its head and the incarnation's state.
create function open_files(p_project integer, p_incarnation bigint)
returns table (head_position bigint, head_hash bytea, origin text, origin_name text, last_sequence bigint, last_inode bigint)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(p_project, 1);
    perform settle_tree(p_project, true);
    return query select h.position, h.hash, i.origin, i.origin_name, coalesce((
                select a.sequence + a.events - 1 from file_appends a where a.project = p_project and a.incarnation = p_incarnation
                order by a.sequence desc limit 1
            ), 0), greatest(
            (select max(n.inode) from inodes n where n.project = p_project and n.inode between p_incarnation << 32 and (p_incarnation << 32) + 4294967295),
            (select max(a.inode) from aliases a where a.project = p_project and a.inode between p_incarnation << 32 and (p_incarnation << 32) + 4294967295),
            0
        ) from heads h left join incarnations i on i.project = p_project and i.incarnation = p_incarnation
        where h.project = p_project and h.log = 'files';
end $$;
