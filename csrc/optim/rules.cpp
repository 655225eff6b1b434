// Every optimiser in one screen each: PyTorch's arithmetic, in its order.
#include <algorithm>

#include "optim/formula.h"

namespace pycnn::optim {
namespace {

/// The gradient with the L2 penalty's.
Term decayed_gradient(Formula& f) {
  const Term gradient = f.gradient();
  return f.uses("weight_decay") ? gradient + f.parameter() * f.option("weight_decay") : gradient;
}

/// Weight decay on the parameter itself (Loshchilov and Hutter 2019).
void decay_parameter(Formula& f) {
  if (f.uses("weight_decay")) f.set_parameter(f.parameter() * (1 - f.option("lr") * f.option("weight_decay")));
}

/// Either of them; returns the gradient.
Term gradient_after_decay(Formula& f) {
  if (!f.flag("decoupled_weight_decay")) return decayed_gradient(f);
  decay_parameter(f);
  return f.gradient();
}

/// The next value of a running mean: old + (1 - keep)·(value - old).
Term next_mean(Formula& f, const char* name, const Term& keep, const Term& value) {
  const Term mean = lerp(f.state(name), value, 1 - keep);
  f.set(name, mean);
  return mean;
}

/// keep·old + (1 - keep)·value²
Term next_mean_square(Formula& f, const char* name, const Term& keep, const Term& value) {
  const Term mean = f.state(name) * keep + value * value * (1 - keep);
  f.set(name, mean);
  return mean;
}

/// p - lr·v with v = momentum·v + (1 - dampening)·g, v = g at first; or with g + momentum·v (Nesterov).
void descend(Formula& f, Term gradient) {
  if (f.uses("momentum")) {
    const Term momentum = f.option("momentum");
    Term velocity = gradient;
    if (f.has("momentum_buffer")) {
      velocity = f.state("momentum_buffer") * momentum;
      velocity = velocity + (f.uses("dampening") ? gradient * (1 - f.option("dampening")) : gradient);
    }
    f.set("momentum_buffer", velocity);
    gradient = f.flag("nesterov") ? gradient + velocity * momentum : velocity;
  }
  f.set_parameter(f.parameter() - gradient * f.option("lr"));
}

void sgd(Formula& f) { descend(f, decayed_gradient(f)); }

// Kingma and Ba 2015; AMSGrad: Reddi et al. 2018.
void adam(Formula& f) {
  const Term gradient = gradient_after_decay(f);
  const Term beta1 = f.option("beta1"), beta2 = f.option("beta2"), t = f.step();
  const Term mean = next_mean(f, "exp_avg", beta1, gradient);
  Term square = next_mean_square(f, "exp_avg_sq", beta2, gradient);
  if (f.flag("amsgrad")) {
    square = max(f.state("max_exp_avg_sq"), square);
    f.set("max_exp_avg_sq", square);
  }
  const Term deviation = sqrt(square) * (1 / sqrt(1 - pow(beta2, t))) + f.option("eps");
  f.set_parameter(f.parameter() - mean / deviation * (f.option("lr") / (1 - pow(beta1, t))));
}

// Kingma and Ba 2015, section 7.1.
void adamax(Formula& f) {
  const Term gradient = decayed_gradient(f);
  const Term beta1 = f.option("beta1"), t = f.step();
  const Term mean = next_mean(f, "exp_avg", beta1, gradient);
  const Term largest = max(f.state("exp_inf") * f.option("beta2"), abs(gradient) + f.option("eps"));
  f.set("exp_inf", largest);
  f.set_parameter(f.parameter() - mean / largest * (f.option("lr") / (1 - pow(beta1, t))));
}

// Dozat 2016.
void nadam(Formula& f) {
  const Term gradient = gradient_after_decay(f);
  const Term beta1 = f.option("beta1"), beta2 = f.option("beta2"), lr = f.option("lr"), t = f.step();
  const auto momentum_at = [&](const Term& time) {
    return beta1 * (1 - 0.5 * pow(0.96, time * f.option("momentum_decay")));
  };
  const Term now = momentum_at(t), after = momentum_at(t + 1);
  const Term product = f.as_stored("mu_product", f.number("mu_product", 1) * f.as_stored("mu_product", now));
  f.set("mu_product", product);
  const Term mean = next_mean(f, "exp_avg", beta1, gradient);
  const Term square = next_mean_square(f, "exp_avg_sq", beta2, gradient);
  const Term deviation = sqrt(square * (1 / (1 - pow(beta2, t)))) + f.option("eps");
  f.set_parameter(f.parameter() - gradient / deviation * (lr * (1 - now) / (1 - product)) -
                  mean / deviation * (lr * after / (1 - product * after)));
}

// Liu et al. 2020.
void radam(Formula& f) {
  const Term gradient = gradient_after_decay(f);
  const Term beta1 = f.option("beta1"), beta2 = f.option("beta2"), t = f.step();
  const Term mean = next_mean(f, "exp_avg", beta1, gradient);
  const Term square = next_mean_square(f, "exp_avg_sq", beta2, gradient);
  const Term power = pow(beta2, t), longest = 2 / (1 - beta2) - 1;
  const Term length = longest - 2 * t * power / (1 - power);
  const Term rectified = sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
  const Term adapted = sqrt(1 - power) * rectified / (sqrt(square) + f.option("eps"));
  f.set_parameter(f.parameter() - mean * (f.option("lr") / (1 - pow(beta1, t))) * where(length > 5, adapted, 1));
}

// Tieleman and Hinton 2012; centered: Graves 2013.
void rmsprop(Formula& f) {
  const Term gradient = decayed_gradient(f);
  const Term alpha = f.option("alpha");
  f.step();
  Term square = next_mean_square(f, "square_avg", alpha, gradient);
  if (f.flag("centered")) {
    const Term mean = next_mean(f, "grad_avg", alpha, gradient);
    square = square - mean * mean;
  }
  Term direction = gradient / (sqrt(square) + f.option("eps"));
  if (f.uses("momentum")) {
    direction = f.state("momentum_buffer") * f.option("momentum") + direction;
    f.set("momentum_buffer", direction);
  }
  f.set_parameter(f.parameter() - direction * f.option("lr"));
}

// Duchi et al. 2011.
void adagrad(Formula& f) {
  const Term gradient = decayed_gradient(f);
  const Term t = f.step();
  const Term sum = f.state("sum", f.option("initial_accumulator_value")) + gradient * gradient;
  f.set("sum", sum);
  const Term rate = f.option("lr") / (1 + (t - 1) * f.option("lr_decay"));
  f.set_parameter(f.parameter() - gradient / (sqrt(sum) + f.option("eps")) * rate);
}

// Zeiler 2012.
void adadelta(Formula& f) {
  const Term gradient = decayed_gradient(f);
  const Term rho = f.option("rho"), eps = f.option("eps");
  f.step();
  const Term square = next_mean_square(f, "square_avg", rho, gradient);
  const Term delta = sqrt(f.state("acc_delta") + eps) / sqrt(square + eps) * gradient;
  next_mean_square(f, "acc_delta", rho, delta);
  f.set_parameter(f.parameter() - delta * f.option("lr"));
}

// Riedmiller and Braun 1993, without going back.
void rprop(Formula& f) {
  Term gradient = f.gradient();
  f.step();
  const Term agreement = gradient * f.state("prev");
  const Term turned = 0 > agreement;
  const Term factor = where(agreement > 0, f.option("etaplus"), where(turned, f.option("etaminus"), 1));
  const Term size =
      min(max(f.state("step_size", f.option("lr")) * factor, f.option("step_size_min")), f.option("step_size_max"));
  gradient = where(turned, 0, gradient);
  f.set("prev", gradient);
  f.set("step_size", size);
  f.set_parameter(f.parameter() - sign(gradient) * size);
}

// Polyak and Juditsky 1992, with the rates of Bottou's SGD.
void asgd(Formula& f) {
  const Term gradient = decayed_gradient(f);
  const Term lr = f.option("lr"), lambd = f.option("lambd"), t = f.step();
  const Term eta = f.number("eta", lr), mu = f.number("mu", 1), average = f.state("ax");
  const Term next = f.parameter() * (1 - lambd * eta) - gradient * eta;
  f.set_parameter(next);
  f.set("eta", f.in_default_dtype(lr / pow(1 + lambd * lr * t, f.option("alpha"))));
  f.set("mu", f.in_default_dtype(1 / max(t - f.option("t0"), 1)));
  f.set("ax", where(mu == 1, next, average + (next - average) * mu));
}

// You et al. 2017: the gradient in proportion to the parameter's norm.
void lars(Formula& f) {
  const Term parameter_norm = f.parameter_norm(), gradient_norm = f.gradient_norm();
  const Term decay = f.option("weight_decay");
  const Term trust =
      f.option("trust_coefficient") * parameter_norm / (gradient_norm + decay * parameter_norm + f.option("eps"));
  descend(f, decayed_gradient(f) * where(parameter_norm * gradient_norm > 0, trust, 1));
}

// Chen et al. 2023.
void lion(Formula& f) {
  decay_parameter(f);
  const Term gradient = f.gradient();
  const Term mean = f.state("exp_avg");
  f.set("exp_avg", lerp(mean, gradient, 1 - f.option("beta2")));
  f.set_parameter(f.parameter() - sign(lerp(mean, gradient, 1 - f.option("beta1"))) * f.option("lr"));
}

const std::vector<Rule> rules = {
    {"SGD", {{"momentum_buffer"}}, sgd},
    {"Adam", {{"step", true}, {"exp_avg"}, {"exp_avg_sq"}, {"max_exp_avg_sq"}}, adam},
    {"Adamax", {{"step", true}, {"exp_avg"}, {"exp_inf"}}, adamax},
    {"NAdam", {{"step", true}, {"mu_product", true}, {"exp_avg"}, {"exp_avg_sq"}}, nadam},
    {"RAdam", {{"step", true}, {"exp_avg"}, {"exp_avg_sq"}}, radam},
    {"RMSprop", {{"step", true}, {"square_avg"}, {"momentum_buffer"}, {"grad_avg"}}, rmsprop},
    {"Adagrad", {{"step", true}, {"sum"}}, adagrad},
    {"Adadelta", {{"step", true}, {"square_avg"}, {"acc_delta"}}, adadelta},
    {"Rprop", {{"step", true}, {"prev"}, {"step_size"}}, rprop},
    {"ASGD", {{"step", true}, {"eta", true}, {"mu", true}, {"ax"}}, asgd},
    {"LARS", {{"momentum_buffer"}}, lars},
    {"Lion", {{"exp_avg"}}, lion},
};

}  // namespace

const Rule& find_rule(std::string_view name) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.name == name; });
  check<ValueError>(found != rules.end(), "there is no optimiser '", name, "'");
  return *found;
}

}  // namespace pycnn::optim
