mod jose;
