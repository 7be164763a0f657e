-- A chunk may be kept as what differs from another that is kept whole: encoding 'delta', data: the other's name (32 bytes), then a
-- zstd frame with its plain bytes as dictionary. It is stored only where that other one is, and is whole: a chain has one link. What
-- is not stored for want of it is 'missing' then, and comes whole.
create function put_deltas(p_project integer, p_hashes bytea[], p_sizes bigint[], p_data bytea[]) returns void language plpgsql as $$
begin
    insert into chunks (project, hash, size_bytes, encoding, data)
    select p_project, h, s, 'delta', d from unnest(p_hashes, p_sizes, p_data) as k (h, s, d)
    where (
        select c.hash from chunks c where c.project = p_project and c.hash = substring(d from 1 for 32)
            and c.encoding <> 'delta' and c.data is not null
    ) is not null order by h
    on conflict on constraint chunks_pkey do nothing;
end $$;

-- As in 0006, and what is kept as a difference after what is whole: the one may be made from the other.
create or replace function put_chunks(p_project integer, p_hashes bytea[], p_sizes bigint[], p_encodings text[], p_data bytea[])
returns void language plpgsql as $$
declare said record;
begin
    insert into chunks (project, hash, size_bytes, encoding, data)
    select p_project, h, s, e, d from unnest(p_hashes, p_sizes, p_encodings, p_data) as k (h, s, e, d) where e <> 'delta' order by h
    on conflict on constraint chunks_pkey do nothing;
    if 'delta' = any(p_encodings) then
        select put_deltas(p_project, array_agg(h), array_agg(s), array_agg(d)) into said
        from unnest(p_hashes, p_sizes, p_encodings, p_data) as k (h, s, e, d) where e = 'delta';
    end if;
end $$;

-- append_files as in 0013, with the same in it. A batch that brings differences names them among p_chunks.
do $$
declare
    made text := pg_get_functiondef('append_files'::regproc);
    old text := $old$        from (select generate_series(s[3], s[4], 2) as k, generate_series(s[5], s[6], 2) as j) as r
        on conflict on constraint chunks_pkey do nothing;
    end if;
    if p_chunks is not null and$old$;
    new text := $new$        from (select generate_series(s[3], s[4], 2) as k, generate_series(s[5], s[6], 2) as j) as r where n[k + 1] < 2
        on conflict on constraint chunks_pkey do nothing;
        if p_chunks is not null then
            select put_deltas(log_project, array_agg(b[j]), array_agg(n[k]), array_agg(b[j + 1])) into late
            from (select generate_series(s[3], s[4], 2) as k, generate_series(s[5], s[6], 2) as j) as r where n[k + 1] = 2;
        end if;
    end if;
    if p_chunks is not null and$new$;
begin
    if position(old in made) = 0 then
        raise exception 'append_files is not the one of 0013';
    end if;
    execute replace(made, old, new);
end $$;
