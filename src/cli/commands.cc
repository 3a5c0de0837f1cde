// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <algorithm>
#include <cctype>
#include <memory>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/daemon_commands.h"
#include "cli/host_function.h"
#include "cli/kinds.h"
#include "cli/limits.h"
#include "cli/resources.h"

namespace remora::cli {

namespace {

std::string words(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) {
        text += (text.empty() || part.empty() ? "" : " ") + std::string(part);
    }
    return text;
}

std::vector<std::string> split_choices(std::string_view choices) {
    std::vector<std::string> all;
    while (!choices.empty()) {
        const std::size_t bar = choices.find('|');
        all.emplace_back(choices.substr(0, bar));
        choices = bar == std::string_view::npos ? "" : choices.substr(bar + 1);
    }
    return all;
}

CLI::Option* add_choice(CLI::App& command,
                        std::string_view name,
                        std::string& value,
                        std::string_view help,
                        const std::vector<std::string>& choices) {
    const auto check = [choices, flag = std::string(name)](const std::string& text) {
        if (std::ranges::find(choices, text) != choices.end()) {
            return std::string();
        }
        std::string error = "'" + text + "' will not do; use";
        for (const std::string& choice : choices) {
            error += (&choice == &choices.front()  ? " "
                      : &choice == &choices.back() ? " or "
                                                   : ", ") +
                     choice;
        }
        return error;
    };
    auto* option = command.add_option(std::string(name), value, std::string(help));
    std::string shown;
    for (const std::string& choice : choices) {
        shown += (shown.empty() ? "" : "|") + choice;
    }
    return option->check(CLI::Validator(check, ""))->option_text(shown);
}

void add_flag(CLI::App& command, const Flag& flag, Values& values) {
    std::string& slot = values.slot(flag.name, flag.fallback);
    const std::string name(flag.name);
    std::string help(flag.help);
    if (!flag.fallback.empty()) {
        help += " (default: " + std::string(flag.fallback) + ")";
    }
    CLI::Option* option = nullptr;
    if (!flag.choices.empty()) {
        option = add_choice(command, name, slot, help, split_choices(flag.choices));
    } else if (flag.type == FlagType::Switch) {
        option = command.add_flag_callback(name, [&slot] { slot = "yes"; }, help);
    } else if (flag.type == FlagType::Number) {
        option = add_number(command, name, slot, help);
    } else if (flag.type == FlagType::Function) {
        option = add_function(command, name, slot, help);
    } else {
        option = command.add_option(name, slot, help);
    }
    if (flag.type != FlagType::Switch && flag.choices.empty()) {
        option->option_text(std::string(flag.value) + (flag.required ? " (required)" : ""));
    }
    option->required(flag.required);
}

void add_create(CLI::App& create_command, const Kind& kind, Action& action) {
    auto* command = add_command(create_command, kind.name, words({"Make", kind.what}),
                                words({"create", kind.name, kind.example, kind.example_flags}));
    const auto values = std::make_shared<Values>();
    const auto typed = std::make_shared<std::string>();
    command
        ->add_option("ID", *typed,
                     kind.parent.empty() ? "What to call it" : "What to call it, with its parent")
        ->option_text(kind.parent.empty() ? "(required)" : "PARENT/ID (required)")
        ->required();
    for (const Flag& flag : kind.flags) {
        add_flag(*command, flag, *values);
    }
    command->callback([&action, &kind, values, typed] {
        action = [&kind, values, typed](const Session& session) {
            create(session, kind, *typed, *values);
        };
    });
}

/// A subcommand of a verb for a kind, under both of its names, with a place for the thing's name.
CLI::App* add_kind(CLI::App& verb,
                   const Kind& kind,
                   std::string_view help,
                   std::string& typed,
                   std::string_view flags = {}) {
    auto* command = add_command(verb, kind.name, words({help, kind.what}),
                                words({verb.get_name(), kind.name, kind.example, flags}));
    command->alias(std::string(kind.plural));
    command->add_option("NAME", typed, "Which one, such as " + std::string(kind.example))
        ->option_text("(required)")
        ->required();
    return command;
}

void add_list(CLI::App& list_command, const Kind& kind, Action& action) {
    const std::string_view parent =
        kind.parent.empty() ? "" : kind.example.substr(0, kind.example.find('/'));
    auto* command =
        add_command(list_command, kind.name,
                    "List each " + std::string(kind.what.substr(kind.what.find(' ') + 1)),
                    words({"list", kind.name, parent}));
    command->alias(std::string(kind.plural));
    const auto typed = std::make_shared<std::string>();
    if (!kind.parent.empty()) {
        auto* option = command->add_option("PARENT", *typed, "Only those of this parent");
        option->option_text(kind.list_needs_parent ? "(required)" : "(default: every one)");
        option->required(kind.list_needs_parent);
    }
    command->callback([&action, &kind, typed] {
        action = [&kind, typed](const Session& session) { list(session, kind, *typed); };
    });
}

void add_get(CLI::App& verb, const Kind& kind, Action& action) {
    const auto typed = std::make_shared<std::string>();
    add_kind(verb, kind, "Show", *typed)->callback([&action, &kind, typed] {
        action = [&kind, typed](const Session& session) { get(session, kind, *typed); };
    });
}

void add_delete(CLI::App& verb, const Kind& kind, Action& action) {
    const auto typed = std::make_shared<std::string>();
    const auto missing = std::make_shared<bool>(false);
    auto* command = add_kind(verb, kind, "Delete", *typed, "--allow-missing");
    command->add_flag("--allow-missing", *missing, "Succeed when there is none");
    command->callback([&action, &kind, typed, missing] {
        action = [&kind, typed, missing](const Session& session) {
            remove(session, kind, *typed, *missing);
        };
    });
}

void add_stats(CLI::App& verb, const Kind& kind, Action& action) {
    const auto typed = std::make_shared<std::string>();
    add_kind(verb, kind, "Counters of", *typed)->callback([&action, &kind, typed] {
        action = [&kind, typed](const Session& session) { stats(session, kind, *typed); };
    });
}

void add_volume_stats(CLI::App& verb, Action& action) {
    const auto typed = std::make_shared<std::string>();
    auto* command = add_command(verb, "volume", "Counters of any volume, however it is named",
                                "stats volume arrayn1");
    command->add_option("REF", *typed, "An id, a name, a UUID, or REMOTEnNSID")
        ->option_text("(required)")
        ->required();
    command->callback([&action, typed] {
        action = [typed](const Session& session) { volume_stats(session, *typed); };
    });
}

void add_attach(CLI::App& root, Action& action) {
    auto* command = add_command(root, "attach", "Turn a remote volume into a disk of the host",
                                "attach --discovery 127.0.0.1:4420 --volume "
                                "11111111-2222-4333-8444-555555555555 --function 0");
    const auto flags = std::make_shared<AttachFlags>();
    command->add_option("--discovery", flags->discovery, "Where the target answers discovery")
        ->option_text("ADDRESS:PORT (required)")
        ->required();
    command->add_option("--volume", flags->volume, "The volume's identity")
        ->option_text("UUID (required)")
        ->required();
    add_function(*command, "--function", flags->function,
                 "The host's function, 0 to 63, or one of its virtual functions, such as 3.2 "
                 "(default: the lowest physical one that is free)");
    command
        ->add_option("--hostnqn", flags->hostnqn,
                     "Who this machine says it is (default: its own NQN)")
        ->option_text("NQN");
    command->add_option("--as", flags->kind, "What the host sees (default: virtio-blk)")
        ->option_text("virtio-blk|nvme")
        ->check(CLI::IsMember({"virtio-blk", "nvme"}));
    command->callback([&action, flags] {
        action = [flags](const Session& session) { attach(session, *flags); };
    });
}

void add_detach(CLI::App& root, Action& action) {
    auto* command =
        add_command(root, "detach", "Take an attached disk from the host, wholly",
                    "detach --function 0\n"
                    "detach --volume 11111111-2222-4333-8444-555555555555 --allow-missing");
    const auto flags = std::make_shared<DetachFlags>();
    auto* function =
        add_function(*command, "--function", flags->function, "The host's function, or");
    command->add_option("--volume", flags->volume, "the volume's identity")
        ->option_text("UUID")
        ->excludes(function);
    command->add_flag("--allow-missing", flags->allow_missing,
                      "Succeed when there is nothing to detach");
    command->callback([&action, flags] {
        if (flags->function.empty() && flags->volume.empty()) {
            throw CLI::RequiredError("--function PF[.VF] or --volume UUID");
        }
        action = [flags](const Session& session) { detach(session, *flags); };
    });
}

void add_ana(CLI::App& root, Action& action) {
    auto* command =
        add_command(root, "ana", "Show or set how good the way through a listener is for its hosts",
                    "ana lab/tcp\nana lab/tcp --set inaccessible");
    const auto typed = std::make_shared<std::string>();
    const auto state = std::make_shared<std::string>();
    command->add_option("CONTROLLER", *typed, "The listener: SUBSYSTEM/ID")
        ->option_text("(required)")
        ->required();
    add_choice(*command, "--set", *state, "From now on",
               {"optimized", "non-optimized", "inaccessible", "persistent-loss", "change"});
    command->callback([&action, typed, state] {
        action = [typed, state](const Session& session) { ana(session, *typed, *state); };
    });
}

void add_resize(CLI::App& verb, const Kind& kind, Action& action) {
    const auto typed = std::make_shared<std::string>();
    const auto size = std::make_shared<std::string>();
    auto* command = add_kind(verb, kind, "Give another size to", *typed, "--size 128M");
    command->add_option("--size", *size, "The whole size it shall have; not less than it has")
        ->option_text("SIZE (required)")
        ->required();
    command->callback([&action, &kind, typed, size] {
        action = [&kind, typed, size](const Session& session) {
            resize(session, kind, *typed, *size);
        };
    });
}

void add_limit(CLI::App& verb, const Kind& kind, Action& action) {
    const auto typed = std::make_shared<std::string>();
    const auto values = std::make_shared<Values>();
    auto* command = add_kind(verb, kind, "Change the rates of", *typed, "--kiops 20 --read-mbs 0");
    for (const Flag& flag : kRateFlags) {
        add_flag(*command, flag, *values);
    }
    command->callback([&action, &kind, typed, values] {
        action = [&kind, typed, values](const Session& session) {
            limit(session, kind, *typed, *values);
        };
    });
}

void add_path_policy(CLI::App& root, Action& action) {
    auto* command =
        add_command(root, "path-policy", "Choose how a remote controller uses its several paths",
                    "path-policy --remote array --policy round-robin");
    const auto flags = std::make_shared<PathPolicyFlags>();
    command->add_option("--remote", flags->remote, "The remote controller, of multipath")
        ->option_text("NAME (required)")
        ->required();
    add_choice(*command, "--policy", flags->policy, "Which path gets a request",
               {"queue-depth", "round-robin"})
        ->required();
    command->callback([&action, flags] {
        action = [flags](const Session& session) { path_policy(session, *flags); };
    });
}

void add_timings(CLI::App& root, Action& action) {
    auto* command = add_command(
        root, "timings",
        "Show how long a remote controller's connections wait, or set it for its next connections",
        "timings --remote array --keep-alive 10 --io 30");
    const auto flags = std::make_shared<TimingsFlags>();
    command->add_option("--remote", flags->remote, "The remote controller")
        ->option_text("NAME (required)")
        ->required();
    const auto seconds = [command](const char* name, std::string& slot, const char* help) {
        command->add_option(name, slot, help)->option_text("SECONDS");
    };
    seconds("--connect", flags->connect, "To connect, 0.1 to 60; 0: the default, 5");
    seconds("--keep-alive", flags->keep_alive, "Keep alive time-out, 1 to 600; 0: the default, 5");
    seconds("--io", flags->io,
            "Until I/O that makes no progress is sent anew, 1 to 600; 0: the default, 10");
    seconds("--reconnect-max", flags->reconnect_max,
            "Longest pause between attempts to connect, 0.1 to 600; 0: the default, 5");
    command->callback([&action, flags] {
        action = [flags](const Session& session) { timings(session, *flags); };
    });
}

void add_forget_key(CLI::App& root, Action& action) {
    auto* command = add_command(root, "forget-key",
                                "Let a volume be encrypted with another key than before; what was "
                                "encrypted on it is garbage then",
                                "forget-key --volume disk0");
    const auto volume = std::make_shared<std::string>();
    command->add_option("--volume", *volume, "What held the ciphertext")
        ->option_text("REF (required)")
        ->required();
    command->callback([&action, volume] {
        action = [volume](const Session& session) { forget_key(session, *volume); };
    });
}

void add_bench(CLI::App& root, Action& action) {
    auto* command = add_command(
        root, "bench",
        "Drive a volume from inside the daemon, and measure; writing destroys what is on it",
        "bench --volume disk0 --rw randrw --bs 4k --qd 32 --time 5");
    const auto flags = std::make_shared<BenchFlags>();
    command->add_option("--volume", flags->volume, "An id, a name, a UUID, or REMOTEnNSID")
        ->option_text("REF (required)")
        ->required();
    add_choice(*command, "--rw", flags->pattern, "Direction, at random places (default: read)",
               {"read", "write", "randrw"});
    command->add_option("--bs", flags->io_size, "Bytes an operation (default: 4k)")
        ->option_text("SIZE");
    add_number(*command, "--qd", flags->queue_depth, "Operations at once (default: 32)");
    command->add_option("--time", flags->seconds, "Such as 0.25 (default: 5)")
        ->option_text("SECONDS");
    command->callback(
        [&action, flags] { action = [flags](const Session& session) { bench(session, *flags); }; });
}

}  // namespace

CLI::App* add_command(CLI::App& parent,
                      std::string_view name,
                      std::string_view help,
                      std::string_view examples) {
    auto* command = parent.add_subcommand(std::string(name), std::string(help));
    std::string footer = examples.contains('\n') ? "Examples:" : "Example:";
    while (!examples.empty()) {
        const std::size_t end = examples.find('\n');
        footer += "\n  remora " + std::string(examples.substr(0, end));
        examples = end == std::string_view::npos ? "" : examples.substr(end + 1);
    }
    return command->footer(footer);
}

CLI::Option* add_number(CLI::App& command,
                        std::string_view name,
                        std::string& digits,
                        std::string_view help) {
    const auto check = [](const std::string& text) {
        const bool whole = !text.empty() && std::ranges::all_of(text, [](unsigned char letter) {
            return std::isdigit(letter) != 0;
        });
        return whole ? std::string() : "'" + text + "' is not a whole number";
    };
    return command.add_option(std::string(name), digits, std::string(help))
        ->check(CLI::Validator(check, ""))
        ->option_text("N");
}

CLI::Option* add_function(CLI::App& command,
                          std::string_view name,
                          std::string& text,
                          std::string_view help) {
    const auto check = [](const std::string& given) {
        return read_function(given)
                   ? std::string()
                   : "'" + given + "' is no function of a host: write 3, or 3.2 for a virtual one";
    };
    return command.add_option(std::string(name), text, std::string(help))
        ->check(CLI::Validator(check, ""))
        ->option_text(std::string(kFunctionValue));
}

void add_resource_commands(CLI::App& root, Action& action) {
    auto* create_command = add_command(root, "create", "Make something in the daemon",
                                       "create malloc disk0 --size 64M\n"
                                       "create subsystem lab --nqn nqn.2026-11.example.remora:lab\n"
                                       "create controller lab/tcp --listen 127.0.0.1:4420\n"
                                       "create namespace lab/disk0 --volume disk0");
    auto* get_command = add_command(root, "get", "Show one thing",
                                    "get malloc disk0\n-o json get controller lab/tcp");
    auto* list_command =
        add_command(root, "list", "List all things of a kind", "list malloc\nlist namespace lab");
    auto* delete_command = add_command(root, "delete", "Delete something",
                                       "delete malloc disk0\ndelete path array/p0 --allow-missing");
    auto* stats_command = add_command(root, "stats", "Counters of operations and bytes",
                                      "stats malloc disk0\nstats volume arrayn1");
    auto* resize_command = add_command(root, "resize", "Grow a volume; its hosts see it at once",
                                       "resize malloc disk0 --size 128M");
    auto* limit_command =
        add_command(root, "limit", "Change limits of rate, at once and for all who use it",
                    "limit qos slow0 --kiops 20\nlimit virtio-blk vda --write-mbs 100\n"
                    "limit controller lab/tcp --kiops 50 --min-kiops 10");
    for (auto* verb : {create_command, get_command, list_command, delete_command, stats_command,
                       resize_command, limit_command}) {
        verb->require_subcommand(1);
    }
    for (const Kind& kind : kinds()) {
        if (kind.build != nullptr) {
            add_create(*create_command, kind, action);
        }
        add_get(*get_command, kind, action);
        add_list(*list_command, kind, action);
        if (kind.can_delete) {
            add_delete(*delete_command, kind, action);
        }
        if (kind.can_resize) {
            add_resize(*resize_command, kind, action);
        }
        if (kind.limits != nullptr) {
            add_limit(*limit_command, kind, action);
        }
        if (kind.counters != Counters::None) {
            add_stats(*stats_command, kind, action);
        }
    }
    add_volume_stats(*stats_command, action);
}

void add_daemon_commands(CLI::App& root, Action& action) {
    add_attach(root, action);
    add_detach(root, action);
    add_command(root, "status", "Each host disk's whole chain, one a line", "status")
        ->callback([&action] { action = [](const Session& session) { status(session); }; });
    add_ana(root, action);
    add_path_policy(root, action);
    add_timings(root, action);
    add_forget_key(root, action);
    add_bench(root, action);
}

}  // namespace remora::cli
