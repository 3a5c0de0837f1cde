// SPDX-License-Identifier: Apache-2.0
// The bash script is a table, one line a command with the words that may follow it, and a function
// that walks the line being typed through the table. Names and values do not change the place.
#include <algorithm>
#include <set>
#include <string>

#include "cli/program.h"

namespace remora::cli {

namespace {

constexpr const char* kFunction = R"(    local current=${COMP_WORDS[COMP_CWORD]} place=remora word i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; ++i)); do
        word=${COMP_WORDS[i]}
        if [[ $valued == *" $word "* ]]; then
            ((++i))
        elif [[ -n ${words["$place $word"]+known} ]]; then
            place="$place $word"
        fi
    done
    # Past the end: what is typed is a flag's value, and bash's own completion does for that.
    if ((i == COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -W "${words[$place]} $globals" -- "$current")
    fi
}
complete -o default -F _remora remora
)";

std::string flags_of(const CLI::App& command) {
    std::string flags;
    for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) {
            flags += " --" + name;
        }
    }
    return flags;
}

/// Flags that take a value, with both spellings.
void collect_valued(const CLI::App& command, std::set<std::string>& valued) {
    for (const CLI::Option* option : command.get_options()) {
        if (option->get_items_expected_max() == 0) {
            continue;
        }
        for (const std::string& name : option->get_lnames()) {
            valued.insert("--" + name);
        }
        for (const std::string& name : option->get_snames()) {
            valued.insert("-" + name);
        }
    }
    for (const CLI::App* next : command.get_subcommands(nullptr)) {
        collect_valued(*next, valued);
    }
}

void add_lines(const CLI::App& command, const std::string& path, std::string& script) {
    std::string words;
    for (const CLI::App* next : command.get_subcommands(nullptr)) {
        words += (words.empty() ? "" : " ") + next->get_name();
    }
    if (command.get_parent() != nullptr) {
        words += flags_of(command);
    }
    script += "        ['" + path + "']='" + words + "'\n";
    for (const CLI::App* next : command.get_subcommands(nullptr)) {
        add_lines(*next, path + " " + next->get_name(), script);
        for (const std::string& alias : next->get_aliases()) {
            std::string other = path;
            add_lines(*next, other.append(" ").append(alias), script);
        }
    }
}

}  // namespace

std::string bash_completion(const CLI::App& commands) {
    std::set<std::string> valued;
    collect_valued(commands, valued);
    std::string script = "# bash completion of remora, written by `remora completion bash`\n";
    script += "_remora() {\n    local -A words=(\n";
    add_lines(commands, "remora", script);
    script += "    )\n    local globals='" + flags_of(commands) + "' valued=' ";
    for (const std::string& flag : valued) {
        script += flag + " ";
    }
    return script + "'\n" + kFunction;
}

}  // namespace remora::cli
