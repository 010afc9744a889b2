/* Completion scripts, made from the verb and option tables. SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void print_verbs(void)
{
    for (const struct pq_verb *v = pq_verbs; v->name; v++)
        printf("%s%s", v == pq_verbs ? "" : " ", v->name);
}

static void bash(void)
{
    printf("# phiq completion for bash\n_phiq() {\n"
           "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" verb=\"${COMP_WORDS[1]}\"\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W \"");
    print_verbs();
    printf("\" -- \"$cur\"))\n        return\n    fi\n    case \"$cur\" in\n    -*)\n"
           "        case \"$verb\" in\n");
    for (const struct pq_verb *v = pq_verbs; v->name; v++) {
        printf("        %s) COMPREPLY=($(compgen -W \"", v->name);
        for (const struct pq_opt *o = pq_opts; o->name; o++)
            if (pq_opt_of(o, v))
                printf("--%s ", o->name);
        printf("\" -- \"$cur\")) ;;\n");
    }
    printf("        esac ;;\n    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n    esac\n}\n"
           "complete -o filenames -F _phiq phiq\n");
}

static void zsh(void)
{
    printf("#compdef phiq\n_phiq() {\n    if (( CURRENT == 2 )); then\n        compadd ");
    print_verbs();
    printf("\n        return\n    fi\n    case $words[2] in\n");
    for (const struct pq_verb *v = pq_verbs; v->name; v++) {
        printf("    %s) _arguments '*:file:_files'", v->name);
        for (const struct pq_opt *o = pq_opts; o->name; o++)
            if (pq_opt_of(o, v))
                printf(" \\\n        '--%s[%s]%s'", o->name, o->arg ? o->arg : "flag",
                       o->arg ? ":value:_files" : "");
        printf(" ;;\n");
    }
    printf("    esac\n}\n_phiq \"$@\"\n");
}

static void fish(void)
{
    for (const struct pq_verb *v = pq_verbs; v->name; v++) {
        printf("complete -c phiq -n __fish_use_subcommand -a %s -d '%s'\n", v->name, v->about);
        for (const struct pq_opt *o = pq_opts; o->name; o++)
            if (pq_opt_of(o, v))
                printf("complete -c phiq -n '__fish_seen_subcommand_from %s' -l %s%s\n", v->name,
                       o->name, o->arg ? " -r" : "");
    }
}

int pq_cmd_completion(const struct pq_args *a, struct pq_err *e)
{
    static const struct {
        const char *shell;
        void (*print)(void);
    } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++)
        if (!strcmp(a->pos[0], shells[i].shell)) {
            shells[i].print();
            return PQ_OK;
        }
    return pq_fail(e, PQ_EINVAL, "unknown shell \"%s\": expected bash, zsh or fish", a->pos[0]);
}
