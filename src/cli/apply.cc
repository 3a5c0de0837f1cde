// SPDX-License-Identifier: Apache-2.0
#include "cli/apply.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/key_file.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "core/check.h"

namespace remora::cli {

namespace {

using nlohmann::ordered_json;

/// No more than a byte above what will be refused.
std::string read_all(std::istream& in) {
    std::string text(kMostYamlBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
}

Site load_site(const std::string& file) {
    if (file == "-") {
        return read_site("standard input", read_all(std::cin));
    }
    std::ifstream in(file, std::ios::binary);
    if (!in) {
        refuse_argument("the file " + file + " cannot be read");
    }
    const std::string text = read_all(in);
    if (in.bad() || (!in.eof() && in.fail())) {
        refuse_argument("the file " + file + " cannot be read");
    }
    return read_site(file, text);
}

struct ActText {
    Act act;
    const char* sign;
    const char* word;
};
constexpr std::array kActs{ActText{Act::Unchanged, "=", "unchanged"},
                           ActText{Act::Create, "+", "create"}, ActText{Act::Change, "~", "change"},
                           ActText{Act::Delete, "-", "delete"},
                           ActText{Act::Blocked, "!", "blocked"}};

const ActText& text_of(Act act) {
    const auto found = std::ranges::find(kActs, act, &ActText::act);
    CHECK(found != kActs.end());
    return *found;
}

std::string detail_of(const Step& step) {
    std::string text = step.reason;
    const char* separator = text.empty() ? "" : ": ";
    for (const FieldChange& change : step.changes) {
        text += std::exchange(separator, ", ") + path_text(change.path) + ": " + change.before +
                " -> " + change.after;
    }
    return text;
}

void print_plan_json(const Session& session, const Plan& plan) {
    ordered_json steps = ordered_json::array();
    for (const Step& step : plan.steps) {
        ordered_json line{
            {"action", text_of(step.act).word}, {"kind", step.kind->name}, {"name", step.typed}};
        if (!step.reason.empty()) {
            line["reason"] = step.reason;
        }
        if (!step.changes.empty()) {
            auto& changes = line["changes"] = ordered_json::array();
            for (const FieldChange& change : step.changes) {
                changes.push_back({{"field", path_text(change.path)},
                                   {"before", change.before_value},
                                   {"after", change.after_value}});
            }
        }
        steps.push_back(std::move(line));
    }
    const ordered_json whole{{"differs", plan.differs()}, {"steps", std::move(steps)}};
    session.out << whole.dump(1, ' ', false, ordered_json::error_handler_t::replace) << '\n';
}

void print_plan(const Session& session, const Plan& plan) {
    if (session.json()) {
        print_plan_json(session, plan);
        return;
    }
    if (!plan.steps.empty()) {
        Table table({"PLAN", "KIND", "NAME", "CHANGE"});
        for (const Step& step : plan.steps) {
            const ActText& act = text_of(step.act);
            table.add({std::string(act.sign) + " " + act.word, std::string(step.kind->name),
                       step.typed, detail_of(step)});
        }
        table.print(session.out);
    }
    if (!plan.differs()) {
        session.out << "nothing to do\n";
    }
}

void create_step(Client& client, const Step& step) {
    if (step.kind->create != nullptr) {
        step.kind->create(client, *step.wanted->message, step.typed);
    } else {
        create_resource(client, *step.kind, step.typed, *step.wanted->message);
    }
}

/// What the daemon has, with the fields that differ: a request has to be complete.
void change_step(Client& client, const Step& step) {
    if (is_setting(*step.kind)) {
        Changed changed;
        for (const FieldChange& change : step.changes) {
            changed.push_back(path_text(change.path));
        }
        set_setting(client, *step.kind, step.wanted->name, *step.wanted->message, changed);
        return;
    }
    const MessagePtr resource(step.held->message->New());
    resource->CopyFrom(*step.held->message);
    std::vector<std::string> mask;
    for (const FieldChange& change : step.changes) {
        copy_value(*step.wanted->message, *resource, change.path);
        mask.push_back(path_text(change.path));
    }
    update_resource(client, *step.kind, *resource, mask);
}

/// Those that the site has something of; each costs a call for each resource that has it.
std::vector<const Kind*> settings_in(const Site& site) {
    std::vector<const Kind*> found;
    for (const Kind& kind : setting_kinds()) {
        if (std::ranges::find(site.resources, &kind, &Declared::kind) != site.resources.end()) {
            found.push_back(&kind);
        }
    }
    return found;
}

/// What was done, in the past tense; "" when there was nothing to do.
std::string carry_out(const Session& session, const Step& step) {
    if (step.act == Act::Unchanged) {
        return "";
    }
    Client client(session);
    if (step.act == Act::Create) {
        create_step(client, step);
        return "created";
    }
    if (step.act == Act::Change) {
        change_step(client, step);
        return "changed";
    }
    CHECK(step.act == Act::Delete);
    delete_resource(client, *step.kind, step.typed, true);
    return "deleted";
}

void carry_out_all(const Session& session, const Plan& plan) {
    const auto steps = std::ranges::count_if(
        plan.steps, [](const Step& step) { return step.act != Act::Unchanged; });
    std::ptrdiff_t done = 0;
    for (const Step& step : plan.steps) {
        try {
            const std::string did = carry_out(session, step);
            if (did.empty()) {
                continue;
            }
            ++done;
            if (!session.json()) {
                session.out << did << ' ' << step.kind->name << ' ' << step.typed << '\n'
                            << std::flush;
            }
        } catch (const Refused& refused) {
            const std::string before = done == 0 ? "nothing was done before it"
                                                 : "the " + std::to_string(done) + " before it " +
                                                       (done == 1 ? "is" : "are") +
                                                       " done, none behind it";
            throw Refused(refused.code(),
                          "step " + std::to_string(done + 1) + " of " + std::to_string(steps) +
                              ", " + text_of(step.act).word + " " + std::string(step.kind->name) +
                              " " + step.typed + ": " + refused.what() + "; " + before +
                              ": apply again once this is mended");
        }
    }
    if (!session.json() && steps != 0) {
        session.out << "done: " << steps << (steps == 1 ? " step\n" : " steps\n");
    }
}

void diff_or_throw(const Session& session, const ApplyFlags& flags) {
    Site site = load_site(flags.file);
    const Holdings holdings = ask_holdings(session, settings_in(site));
    read_keys(site, flags.file, holdings, flags.plan.replace);
    const Plan plan = make_plan(site, holdings, flags.plan);
    print_plan(session, plan);
    if (plan.differs()) {
        throw EndWith{kDiffers};
    }
}

}  // namespace

void apply(const Session& session, const ApplyFlags& flags) {
    if (flags.dry_run) {
        diff(session, flags);
        return;
    }
    Site site = load_site(flags.file);
    const Holdings holdings = ask_holdings(session, settings_in(site));
    read_keys(site, flags.file, holdings, flags.plan.replace);
    const Plan plan = make_plan(site, holdings, flags.plan);
    print_plan(session, plan);
    session.out.flush();
    if (plan.blocked()) {
        throw Refused(grpc::StatusCode::FAILED_PRECONDITION,
                      "nothing was done: the plan has steps that cannot be, marked with !");
    }
    carry_out_all(session, plan);
}

void diff(const Session& session, const ApplyFlags& flags) {
    try {
        diff_or_throw(session, flags);
    } catch (const Refused& refused) {
        throw Refused(refused.code(), refused.what(), kCannotTell);
    }
}

}  // namespace remora::cli
