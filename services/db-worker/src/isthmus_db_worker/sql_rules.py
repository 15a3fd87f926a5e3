"""What SQL that a caller writes may be made of: everything that is not named here is refused.

Names are sqlglot's for its nodes, so one list serves all dialects. Functions that read files, settings or tables, wait,
lock, or make a value of any size from nothing are left out on purpose.
"""

_QUERY = """
select union except intersect subquery cte with from join where group having order ordered limit offset distinct
alias aliases tablealias table column identifier star literal null boolean paren tuple and or xor not eq neq gt gte
lt lte nullsafeeq nullsafeneq like ilike in between is exists any all case if cast trycast datatype datatypeparam
interval var neg add sub mul div intdiv mod dpipe bitwiseand bitwiseor bitwisexor bitwisenot bitwiseleftshift
bitwiserightshift window windowspec filter withingroup escape attimezone collate dot bracket array lateral values
cube rollup groupingsets placeholder similarto regexplike regexpilike jsonextract jsonextractscalar jsonbextract
jsonbextractscalar jsonpath jsonpathroot jsonpathkey jsonpathsubscript anonymous
"""
_FUNCTIONS = """
count sum avg min max stddev stddevpop stddevsamp variance variancepop median percentilecont percentiledisc quantile
mode groupconcat stringagg arrayagg logicaland logicalor corr covarpop covarsamp
rownumber rank denserank percentrank cumedist ntile lag lead firstvalue lastvalue nthvalue
coalesce nullif greatest least abs round ceil floor sign sqrt power pow exp ln log mod trunc
upper lower initcap length bitlength substring trim replace concat concatws left right strposition strpos
splitpart reverse ascii chr unicode regexpreplace regexpextract startswith endswith contains
currentdate currenttime currenttimestamp currentdatetime localtime localtimestamp
extract year quarter month week weekofyear day dayofmonth dayofweek dayofweekiso dayofyear hour minute second
datetrunc timestamptrunc dateadd datesub datediff timestampdiff timestampadd timestampsub tsordsadd tsordsdiff
tsordstodate tsordstodatestr tsordstotimestamp date time timestamp makedate lastday addmonths
strtodate strtotime timetostr datetostr strtounix unixtotime timetounix tochar todate tonumber dateformat
unixtodate strptime dayname monthname
jsonobject jsonarray jsonarraylength jsontype jsonbobject jsonexists jsonkeys jsonvalue
md5 sha sha2
jsonarrayagg jsonobjectagg jsonbobjectagg anyvalue bitwiseandagg bitwiseoragg bitwisexoragg grouping regrslope
regrintercept respectnulls ignorenulls degrees radians pi sin cos tan cbrt widthbucket rand hex soundex translate
regexpcount regexpsubstr regexpinstr substringindex elt typeof makeinterval justifydays datebin utctimestamp
converttimezone arraysize arraytostring stringtoarray arrayposition kwarg
"""
_NAMES = """
date_part age justify_days justify_hours to_timestamp make_date make_timestamp make_interval isfinite
date_bin strftime datetime julianday unixepoch timediff weekday yearweek adddate subdate addtime subtime
maketime microsecond period_add period_diff sec_to_time time_to_sec to_seconds from_days str_to_date
instr position locate field elt find_in_set substring_index ltrim rtrim btrim translate char_length
character_length octet_length bit_count ifnull iif nvl typeof total sign degrees radians pi sin cos tan asin acos
atan atan2 log10 log2 cbrt div width_bucket bool_and bool_or every string_agg array_agg group_concat
json_extract json_type json_valid json_array_length json_unquote json_contains json_length json_keys
jsonb_typeof json_typeof jsonb_array_length jsonb_extract_path_text json_extract_path_text jsonb_path_exists
to_tsvector to_tsquery plainto_tsquery websearch_to_tsquery phraseto_tsquery ts_rank ts_headline similarity
now curdate unix_timestamp jsonb_agg json_agg to_json to_jsonb row_to_json json_build_object jsonb_build_object
json_build_array jsonb_build_array json_arrayagg json_objectagg json_group_array json_group_object json_array
regexp_match num_nulls num_nonnulls quote time strcmp conv bin ord crc32 make_date makedate
array_length cardinality array_position any_value bit_and bit_or bit_xor regr_slope regr_intercept regr_r2
"""
_TABLES = "generate_series json_each json_tree jsonb_array_elements jsonb_array_elements_text"

QUERY = frozenset(_QUERY.split())
"""Parts of a query."""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Functions that sqlglot knows."""
NAMES = frozenset(_NAMES.split())
"""Functions that sqlglot has no node for, by the names that engines give them."""
TABLES = frozenset(_TABLES.split())
"""Functions that stand where a table does."""

PARTS: dict[str, tuple[str, ...]] = {
    "select": ("with_", "expressions", "distinct", "from_", "laterals", "joins", "where", "group", "having", "windows",
               "order", "limit", "offset"),
    **dict.fromkeys(("union", "except", "intersect"), ("with_", "this", "expression", "distinct", "order", "limit",
                                                       "offset")),
    "subquery": ("with_", "this", "alias", "joins", "order", "limit", "offset"),
    "with": ("expressions", "recursive"),
    "cte": ("this", "alias", "materialized"),
    "join": ("this", "on", "side", "kind", "using", "method"),
    "column": ("this", "table", "db", "catalog"),
    "in": ("this", "expressions", "query"),
    "star": (),
    "lateral": ("this", "alias", "ordinality"),
    "limit": ("expression",),
    "offset": ("expression",),
    "cast": ("this", "to"),
}  # fmt: skip
"""What these parts may have in turn; the others anything that may be in a query."""
MADE = ("key", "value", "type", "atom", "id", "parent", "fullkey", "path")
"""The columns of functions that stand where a table does."""
